// SPDX-License-Identifier: GPL-2.0-only
//! The image that is loaded for the next kexec.

use kernel::bindings;
use luo_core::ops::Image;

fn image_of(kind: bindings::luo_image) -> Image {
    match kind {
        bindings::luo_image_LUO_IMAGE_HANDOVER => Image::Handover,
        bindings::luo_image_LUO_IMAGE_LEGACY => Image::Legacy,
        _ => Image::None,
    }
}

/// The image that the reboot system call is about to jump into.
pub(crate) fn image_to_boot() -> Image {
    // SAFETY: Called in a kexec, which holds its lock: by `liveupdate_reboot()`, and while devices
    // are shut down.
    image_of(unsafe { bindings::luo_shim_image_to_boot() })
}

/// The image that is loaded now, or `None` while somebody loads one.
pub(crate) fn image_now() -> Option<Image> {
    // SAFETY: May be called in any context; it takes the lock of kexec, or gives up.
    match unsafe { bindings::luo_shim_image_now() } {
        bindings::luo_image_LUO_IMAGE_BUSY => None,
        kind => Some(image_of(kind)),
    }
}
