// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls the simulator is asked about. All others run at their own
//! speed: the kernel decides by a few comparisons.

use luo_abi::uapi::IOCTL_TYPE;
use luo_sys::seccomp::{Instruction, RETURN_USER_NOTIF};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::Error;

/// System calls by name; their numbers are the machine's.
pub(crate) mod number {
    macro_rules! numbers {
        ($($name:ident: $x86:expr, $other:expr;)*) => {
            $(
                #[cfg(target_arch = "x86_64")]
                pub(crate) const $name: Option<i32> = $x86;
                #[cfg(not(target_arch = "x86_64"))]
                pub(crate) const $name: Option<i32> = $other;
            )*
            /// All of them, but for those that are looked at more closely.
            pub(crate) const ALL: &[Option<i32>] = &[$($name,)*];
        };
    }

    // x86-64, and the generic table of newer architectures.
    numbers! {
        OPEN: Some(2), None;
        STAT: Some(4), None;
        LSTAT: Some(6), None;
        ACCESS: Some(21), None;
        READLINK: Some(89), None;
        FTRUNCATE: Some(77), Some(46);
        FSTATFS: Some(138), Some(44);
        CHMOD: Some(90), None;
        CHOWN: Some(92), None;
        LCHOWN: Some(94), None;
        REBOOT: Some(169), Some(142);
        KEXEC_LOAD: Some(246), Some(104);
        OPENAT: Some(257), Some(56);
        FCHOWNAT: Some(260), Some(54);
        READLINKAT: Some(267), Some(78);
        FCHMODAT: Some(268), Some(53);
        FACCESSAT: Some(269), Some(48);
        FALLOCATE: Some(285), Some(47);
        KEXEC_FILE_LOAD: Some(320), Some(294);
        OPENAT2: Some(437), Some(437);
        FACCESSAT2: Some(439), Some(439);
        FCHMODAT2: Some(452), Some(452);
    }

    // Those are looked at more closely.
    #[cfg(target_arch = "x86_64")]
    mod closely {
        pub(crate) const IOCTL: i32 = 16;
        pub(crate) const MADVISE: i32 = 28;
        pub(crate) const NEWFSTATAT: i32 = 262;
        pub(crate) const STATX: i32 = 332;
    }
    #[cfg(not(target_arch = "x86_64"))]
    mod closely {
        pub(crate) const IOCTL: i32 = 29;
        pub(crate) const MADVISE: i32 = 233;
        pub(crate) const NEWFSTATAT: i32 = 79;
        pub(crate) const STATX: i32 = 291;
    }
    pub(crate) use closely::{IOCTL, MADVISE, NEWFSTATAT, STATX};
}

/// The advice of madvise that takes pages out of a file, `MADV_REMOVE`.
const REMOVE: u64 = 9;

/// A flag of newfstatat and statx: with it they are fstat, on a descriptor.
const EMPTY_PATH: u64 = 0x1000;

/// What the compiler of filters cannot say, and is replaced afterwards: it knows
/// this action, with a value of ours.
const STAND_IN: u32 = 0x4c55;

/// `SECCOMP_RET_TRACE` with that value.
const STAND_IN_RETURN: u32 = 0x7ff0_0000 | STAND_IN;

/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// The filter.
///
/// # Errors
/// [`Error::Architecture`] if the machine's is not supported.
pub(crate) fn filter() -> Result<Vec<Instruction>, Error> {
    let target: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| Error::Architecture(std::env::consts::ARCH))?;
    compile(target)
        .map(instructions)
        .map_err(|why| Error::Filter(why.to_string()))
}

fn compile(target: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    // That bits of an argument have a value.
    let bits = |argument, mask, value| {
        let compare = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value);
        SeccompRule::new(vec![condition?])
    };
    let always = number::ALL.iter().flatten();
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        always.map(|&number| (number.into(), Vec::new())).collect();
    let closely = [
        (number::IOCTL, bits(1, 0xff00, u64::from(IOCTL_TYPE << 8))?),
        (number::MADVISE, bits(2, u32::MAX.into(), REMOVE)?),
        (number::NEWFSTATAT, bits(3, EMPTY_PATH, 0)?),
        (number::STATX, bits(2, EMPTY_PATH, 0)?),
    ];
    for (number, rule) in closely {
        rules.insert(number.into(), vec![rule]);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Trace(STAND_IN),
        target,
    )?;
    filter.try_into()
}

fn instructions(program: BpfProgram) -> Vec<Instruction> {
    let translate = |instruction: seccompiler::sock_filter| {
        let stands_in = instruction.code == RETURN && instruction.k == STAND_IN_RETURN;
        Instruction {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: if stands_in {
                RETURN_USER_NOTIF
            } else {
                instruction.k
            },
        }
    };
    program.into_iter().map(translate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_is_replaced() {
        let program = compile(TargetArch::x86_64).unwrap();
        let stands_in = |k: u32| k == STAND_IN_RETURN;
        assert!(program.iter().any(|instruction| stands_in(instruction.k)));
        let filter = instructions(program);
        assert!(filter.iter().all(|instruction| !stands_in(instruction.k)));
        assert!(
            filter
                .iter()
                .any(|instruction| instruction.k == RETURN_USER_NOTIF)
        );
    }
}
