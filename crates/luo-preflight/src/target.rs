// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the kernel to jump into: whether it can be loaded, and whether it can read the
//! formats that the running one hands over.

use std::fmt::Display;
use std::path::Path;

use luo_varlink::Check;

mod features;

use self::features::{abi_checks, kho, luo};
use crate::abi::Abi;
use crate::check::{Known, failed, ok, unknown, warning};
use crate::image::{Contents, Error, Format, Image, family_of};
use crate::running::{Lockdown, Running};
use crate::small;

/// The consequence if a target cannot read a format.
const LOST: &str = "it would not take over what is preserved, and lose it";

/// The families that are looked for in an image: those of `abi`, and those without
/// which there is no live update.
pub fn families(abi: &[impl AsRef<str>]) -> Vec<&str> {
    let mut families = vec!["luo", "kho", "memfd", "luo-contract", "luo-memfd"];
    for family in small::families() {
        families.push(family);
    }
    for family in abi.iter().filter_map(|string| family_of(string.as_ref())) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

/// Checks an image against the running kernel: `target-image`, `target-signature`,
/// `target-pages`, `target-kho`, `target-luo`, `target-abi`.
///
/// `abi` are the formats that the running kernel hands over. `path` is where the image is, for
/// messages: it may stand in a configuration, or nowhere.
#[must_use]
pub fn checks(
    path: &Path,
    image: Result<&Image, &Error>,
    running: &Running,
    abi: &Abi,
) -> Vec<Check> {
    let path = path.display();
    let image = match image {
        Ok(image) => image,
        Err(error) => {
            let found = format!("the image {path} cannot be looked into: {error}");
            let remedy = match error {
                Error::Unsupported(_) => "build the kernel with another compression",
                Error::Damaged(_) | Error::Decompress { .. } => {
                    "copy or install the image again, and look whether its disk is full"
                }
                _ => {
                    "name a kernel: /boot/vmlinuz-*, /usr/lib/modules/*/vmlinuz, or a unified \
                     kernel image such as /efi/EFI/Linux/*.efi"
                }
            };
            return vec![failed("target-image", found, remedy)];
        }
    };
    let mut checks = vec![loadable(&path, image, &running.machine)];
    checks.extend(signature(image, running));
    checks.extend(pages(&image.contents, running.page_bytes));
    checks.push(kho(&image.contents));
    checks.push(luo(&image.contents));
    checks.extend(abi_checks(&image.contents, abi));
    checks
}

fn loadable(path: &impl Display, image: &Image, machine: &Known<String>) -> Check {
    const NAME: &str = "target-image";
    let release = image.release().unwrap_or("of unknown release");
    let mut what = format!("the image {path} is a kernel {release}, {}", image.format);
    for shell in image.shells.iter().rev() {
        what.push_str(&format!(", in {shell}"));
    }
    if !image.length_is_known {
        what.push_str("; whether its end is missing cannot be told");
    }
    // Who checks a signature finds damage, too.
    if !image.is_summed && !image.signed {
        what.push_str("; it has no checksum, so whether its contents are right cannot be told");
    }
    if let (Some(of_image), Ok(machine)) = (image.machine, machine)
        && of_image != machine
    {
        let found = format!("{what}, for {of_image}; this machine is {machine}");
        return failed(NAME, found, "name an image for this machine");
    }
    if let Some(why) = image.boot.unloadable {
        let found = format!("{what}, that the kernel does not load: {why}");
        return failed(NAME, found, "build a relocatable 64-bit kernel");
    }
    let is_plain = image.wrapped.is_none();
    match (image.machine, image.format) {
        (Some("x86_64"), Format::BzImage) => put_together(NAME, what, image, release),
        (Some("x86_64"), _) => failed(
            NAME,
            format!("{what}; kexec takes only a bzImage on this machine"),
            "name the bzImage: arch/x86/boot/bzImage, or /boot/vmlinuz-*",
        ),
        (Some("aarch64" | "riscv64"), Format::Image) if is_plain => {
            put_together(NAME, what, image, release)
        }
        (Some("aarch64"), _) => failed(
            NAME,
            format!("{what}; kexec takes only an Image that is not compressed on this machine"),
            "decompress it, or name arch/arm64/boot/Image",
        ),
        _ => unknown(
            NAME,
            format!("{what}; it is not known whether kexec takes it"),
            "load it with kexec -s -l once, and unload it with kexec -s -u",
        ),
    }
}

/// A kernel that can be loaded: whether it is the one that the image around it is for.
fn put_together(name: &str, what: String, image: &Image, release: &str) -> Check {
    match &image.said_release {
        Some(said) if said != release => warning(
            name,
            format!("{what}; the unified kernel image says that it is {said:?}"),
            "make the unified kernel image anew: it is put together from parts of two kernels, \
             and its initrd may be of the other one",
        ),
        _ => ok(name, what),
    }
}

fn signature(image: &Image, running: &Running) -> Option<Check> {
    const NAME: &str = "target-signature";
    let config = running.config.as_ref();
    let is_known = config.is_ok();
    // Nothing vouches for an image then but its own signature.
    let is_forced = config.is_ok_and(|config| config.has("KEXEC_SIG_FORCE"));
    let is_locked = !matches!(running.lockdown, Ok(Lockdown::None) | Err(_));
    let why = match (is_forced, is_locked) {
        (false, false) if is_known || image.signed => return None,
        (false, false) => {
            return Some(unknown(
                NAME,
                "the image carries no signature, and whether the running kernel loads signed \
                 images alone (CONFIG_KEXEC_SIG_FORCE) is not known: its configuration cannot be \
                 read"
                    .to_owned(),
                "prepare tries to load it before anybody is asked; /boot/config-VERSION, or \
                 CONFIG_IKCONFIG_PROC=y, tells it before",
            ));
        }
        (true, _) => "the kernel loads signed images alone (CONFIG_KEXEC_SIG_FORCE)",
        (false, true) => "the kernel is locked down",
    };
    let remedy = "sign the image with a key that the running kernel trusts";
    Some(match (image.signed, is_forced) {
        (true, _) => ok(
            NAME,
            format!(
                "{why}; the image carries a signature (loading it tells whether its key is \
                 trusted)"
            ),
        ),
        (false, true) => failed(
            NAME,
            format!("{why}, and the image carries no signature: kexec refuses it"),
            remedy,
        ),
        (false, false) => warning(
            NAME,
            format!(
                "{why}, and the image carries no signature: kexec refuses it unless an IMA \
                 policy vouches for it"
            ),
            remedy,
        ),
    })
}

fn pages(contents: &Contents, page_bytes: u64) -> Option<Check> {
    let shift = contents.config.as_ref()?.value("PAGE_SHIFT")?;
    let theirs = 1_u64.checked_shl(shift.parse().ok()?)?;
    (theirs != page_bytes).then(|| {
        failed(
            "target-pages",
            format!(
                "the target has pages of {theirs} bytes, the running kernel of {page_bytes}: {LOST}"
            ),
            "build the target with the page size of the running kernel",
        )
    })
}

fn versions(contents: &Contents, family: &str) -> String {
    contents.family(family).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{self, Failed, Ok as Good, Unknown, Warning};

    use super::*;
    use crate::kconfig::Config;

    fn contents(strings: &[&str], config: Option<&str>) -> Contents {
        Contents {
            strings: strings.iter().map(ToString::to_string).collect(),
            config: config.map(Config::parse),
            ..Contents::default()
        }
    }

    fn image(format: Format, machine: Option<&'static str>) -> Image {
        Image {
            format,
            machine,
            contents: Contents::default(),
            ..Image::of_config("")
        }
    }

    #[test]
    fn the_loader_has_to_take_it() {
        let status = |image: &Image, machine: &str| {
            loadable(&"/boot/next", image, &Ok(machine.into())).status
        };
        let x86 = image(Format::BzImage, Some("x86_64"));
        assert_eq!(status(&x86, "x86_64"), Good);
        assert_eq!(status(&x86, "aarch64"), Failed);
        let mut zimage = x86;
        zimage.boot.unloadable = Some("it is a zImage");
        assert_eq!(status(&zimage, "x86_64"), Failed);
        assert_eq!(
            status(&image(Format::Elf, Some("x86_64")), "x86_64"),
            Failed
        );
        let mut arm = image(Format::Image, Some("aarch64"));
        assert_eq!(status(&arm, "aarch64"), Good);
        arm.wrapped = Some(crate::image::Compression::Gzip);
        assert_eq!(status(&arm, "aarch64"), Failed);
        assert_eq!(status(&image(Format::Elf, None), "s390x"), Unknown);
    }

    #[test]
    fn what_cannot_be_known_of_an_image_is_said() {
        let found = |image: &Image| loadable(&"/boot/next", image, &Ok("x86_64".into())).found;
        let mut image = image(Format::BzImage, Some("x86_64"));
        assert!(!found(&image).contains("cannot be told"));
        image.is_summed = false;
        assert!(found(&image).contains("it has no checksum"));
        image.signed = true;
        assert!(!found(&image).contains("it has no checksum"));
        image.length_is_known = false;
        assert!(found(&image).contains("whether its end is missing cannot be told"));
    }

    /// What ukify was told of the kernel, and what the kernel says.
    #[test]
    fn a_unified_image_says_of_which_kernel_it_is() {
        let mut image = image(Format::BzImage, Some("x86_64"));
        image.said_release = Some("7.3.5".into());
        let judged = |image: &Image| loadable(&"/boot/next", image, &Ok("x86_64".into()));
        assert_eq!(judged(&image).status, Good);
        assert!(judged(&image).found.contains("a kernel 7.3.5"));
        image.contents.banner = Some("7.3.4 (a@b) #1".into());
        let other = judged(&image);
        assert_eq!(other.status, Warning);
        assert!(
            other.found.contains("says that it is \"7.3.5\""),
            "{other:?}"
        );
        image.said_release = Some("7.3.4".into());
        assert_eq!(judged(&image).status, Good);
    }

    fn judged(image: &Image, lockdown: Lockdown, config: &str) -> Option<CheckStatus> {
        let mut running = crate::system::System::at("/nonexistent").running();
        running.lockdown = Ok(lockdown);
        running.config = Ok(Config::parse(config));
        Some(signature(image, &running)?.status)
    }

    #[test]
    fn a_kernel_that_is_locked_down_wants_a_signature() {
        let mut image = image(Format::BzImage, Some("x86_64"));
        let status = |image: &Image, lockdown| judged(image, lockdown, "");
        assert_eq!(status(&image, Lockdown::None), None);
        assert_eq!(status(&image, Lockdown::Integrity), Some(Warning));
        image.signed = true;
        assert_eq!(status(&image, Lockdown::Confidentiality), Some(Good));
    }

    #[test]
    fn a_kernel_that_loads_signed_images_alone_refuses_others() {
        const FORCED: &str = "CONFIG_KEXEC_SIG=y\nCONFIG_KEXEC_SIG_FORCE=y\n";
        let mut image = image(Format::BzImage, Some("x86_64"));
        for lockdown in [Lockdown::None, Lockdown::Integrity] {
            assert_eq!(judged(&image, lockdown, FORCED), Some(Failed));
        }
        let looked_at = "CONFIG_KEXEC_SIG=y\n";
        assert_eq!(judged(&image, Lockdown::None, looked_at), None);
        // Where the kernel does not show how it was built, nobody knows.
        let mut unread = crate::system::System::at("/nonexistent").running();
        unread.lockdown = Ok(Lockdown::None);
        unread.config = Err("no".to_owned());
        let unknown = signature(&image, &unread).unwrap();
        assert_eq!(unknown.status, CheckStatus::Unknown);
        image.signed = true;
        assert_eq!(signature(&image, &unread), None);
        assert_eq!(judged(&image, Lockdown::None, FORCED), Some(Good));
    }

    #[test]
    fn page_sizes_have_to_be_equal() {
        let config = contents(&[], Some("CONFIG_PAGE_SHIFT=16"));
        assert_eq!(pages(&config, 4096).map(|check| check.status), Some(Failed));
        assert_eq!(pages(&config, 65536), None);
        assert_eq!(
            pages(&contents(&[], Some("CONFIG_PAGE_SHIFT=99")), 4096),
            None
        );
        assert_eq!(pages(&contents(&[], None), 4096), None);
    }
}
