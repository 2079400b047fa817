// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the running kernel can load another one, and whether it has.

use luo_varlink::Check;

use super::Running;
use crate::check::{failed, ok, unknown, warning};

/// Calls that an update makes to load a kernel: to try it, to unload it again, and to load it
/// for the jump. The kernel counts each.
const LOADS: i64 = 3;

/// The check of a kernel that counts how often one is loaded, and has few left; one before 6.3
/// counts nothing.
fn few_loads(left: i64) -> Option<Check> {
    const LIMIT: &str = "kernel.kexec_load_limit_reboot";
    let remedy = format!("keep {LIMIT} from being set; only a reboot resets it");
    match left {
        0..LOADS => Some(failed(
            KEXEC,
            format!(
                "{LIMIT} is {left}, and an update takes {LOADS} calls: it loads the kernel to try \
                 it, unloads it, and loads it for the jump"
            ),
            &remedy,
        )),
        LOADS => Some(warning(
            KEXEC,
            format!(
                "{LIMIT} is {left}: an update has its {LOADS} calls, and if it is cancelled late \
                 the kernel stays loaded, so that any reboot jumps into it"
            ),
            &remedy,
        )),
        _ => None,
    }
}

/// The check of loading a kernel.
const KEXEC: &str = "running-kexec";

/// Whether a kernel to jump into can be loaded, as often as an update takes it.
pub(super) fn allowed(running: &Running) -> Check {
    const NAME: &str = KEXEC;
    if let (Ok(false), Ok(left)) = (&running.is_loading_disabled, &running.loads_left)
        && let Some(check) = few_loads(*left)
    {
        return check;
    }
    match running.is_loading_disabled {
        Ok(false) => ok(NAME, "a kernel to jump into can be loaded"),
        Ok(true) => failed(
            NAME,
            "kernel.kexec_load_disabled is set: no kernel to jump into can be loaded",
            "keep kernel.kexec_load_disabled from being set; only a reboot resets it",
        ),
        Err(ref why) => {
            let remedy = "run a kernel with CONFIG_KEXEC_FILE=y, and mount /proc";
            unknown(
                NAME,
                format!("it is not known whether kexec is allowed: {why}"),
                remedy,
            )
        }
    }
}

/// The check of a kernel that is loaded already.
pub(super) fn loaded(running: &Running) -> Check {
    const NAME: &str = "running-image";
    match running.is_loaded {
        Ok(false) => ok(NAME, "no kernel to jump into is loaded"),
        Ok(true) if running.image.as_deref() == Ok("legacy") => warning(
            NAME,
            "a kernel to jump into is loaded already, by kexec_load (kexec -c): it takes \
             nothing over, and while something is preserved no reboot goes into it; the \
             update replaces it",
            "load it with kexec_file_load (kexec -s), or unload it with kexec -u",
        ),
        // A kernel of ours says it, to administrators.
        Ok(true) if running.state.is_ok() && running.image.is_err() => warning(
            NAME,
            "a kernel to jump into is loaded already, and whether it takes over what is \
             preserved cannot be read; the update replaces it",
            "check as root",
        ),
        Ok(true) => warning(
            NAME,
            "a kernel to jump into is loaded already; the update replaces it",
            "find out who loaded it: kexec -e or systemctl kexec would jump into it",
        ),
        Err(ref why) => {
            let why = format!("it is not known whether a kernel to jump into is loaded: {why}");
            unknown(
                NAME,
                why,
                "run a kernel with CONFIG_KEXEC_FILE=y, and mount /sys",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{Failed, Ok as Good, Unknown, Warning};

    use super::super::tests::{running, status};
    use super::*;

    #[test]
    fn kexec_has_to_be_allowed() {
        let disabled = Running {
            is_loading_disabled: Ok(true),
            is_loaded: Ok(true),
            ..running()
        };
        assert_eq!(status(&disabled, "running-kexec"), Failed);
        assert_eq!(status(&disabled, "running-image"), Warning);
        let unseen = Running {
            is_loading_disabled: Err("no".into()),
            is_loaded: Err("no".into()),
            ..running()
        };
        assert_eq!(status(&unseen, "running-kexec"), Unknown);
        assert_eq!(status(&unseen, "running-image"), Unknown);
    }

    #[test]
    fn a_kernel_has_to_be_loaded_more_than_once() {
        for (left, expected) in [
            (Ok(-1), Good),
            (Ok(0), Failed),
            (Ok(2), Failed),
            (Ok(3), Warning),
            (Ok(4), Good),
            // A kernel before 6.3 counts nothing.
            (Err("no file".to_owned()), Good),
        ] {
            let running = Running {
                loads_left: left.clone(),
                ..running()
            };
            assert_eq!(status(&running, "running-kexec"), expected, "{left:?}");
        }
    }

    #[test]
    fn an_image_that_takes_nothing_over_is_told() {
        let found = |image: &str| {
            let running = Running {
                is_loaded: Ok(true),
                image: Ok(image.into()),
                ..running()
            };
            let check = loaded(&running);
            assert_eq!(check.status, Warning);
            check.found
        };
        assert!(found("legacy").contains("takes nothing over"));
        assert!(!found("handover").contains("takes nothing over"));
        let unseen = Running {
            is_loaded: Ok(true),
            ..running()
        };
        assert!(loaded(&unseen).found.contains("cannot be read"));
    }
}
