// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which setting forbids what the simulator is built on.

use luo_abi::errno::Errno;

/// What to do about a system call that failed.
pub(crate) fn hint(call: &str, errno: Errno) -> String {
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let mode = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filtered = mode
        .lines()
        .any(|line| line.starts_with("Seccomp:") && !line.ends_with('0'));
    explain(call, errno, yama.ok().as_deref().map(str::trim), filtered)
}

const ENOSYS: i32 = 38;

fn explain(call: &str, errno: Errno, yama: Option<&str>, filtered: bool) -> String {
    let container = "a filter of system calls is in force here, such as a container's: \
         start the container with one that allows seccomp, pidfd_getfd, \
         process_vm_readv and process_vm_writev (docker run --security-opt seccomp=unconfined)";
    if call.starts_with("seccomp") && errno == Errno::EBUSY {
        return "another supervisor listens already: a process can have one \
                listener only, so luo-sim cannot run under luo-sim, nor in a container \
                whose manager intercepts system calls"
            .to_owned();
    }
    if (call.starts_with("pidfd") || call.starts_with("process_vm"))
        && let Some(scope @ ("2" | "3")) = yama
    {
        return format!(
            "kernel.yama.ptrace_scope is {scope}, which keeps processes from \
             looking into their children: it must be 0 or 1 (sysctl kernel.yama.ptrace_scope=1)"
        );
    }
    if filtered && (errno == Errno::EPERM || errno.get() == ENOSYS) {
        return container.to_owned();
    }
    if errno.get() == ENOSYS || errno == Errno::EOPNOTSUPP || errno == Errno::EINVAL {
        return "this kernel is too old, or built without CONFIG_SECCOMP_FILTER: \
                the simulator needs Linux 5.9"
            .to_owned();
    }
    if call.starts_with("pidfd") && errno == Errno::EPERM {
        return "a security module (AppArmor, SELinux) keeps the simulator from looking \
                into its children, or the program is not dumpable (set-user-id, or \
                prctl(PR_SET_DUMPABLE))"
            .to_owned();
    }
    "the simulator cannot do without it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_named() {
        let told = |call, errno, yama, filtered| explain(call, errno, yama, filtered);
        let scope = told("pidfd_getfd", Errno::EPERM, Some("2"), false);
        assert!(scope.contains("ptrace_scope is 2"));
        assert!(told("seccomp(SET_MODE_FILTER)", Errno::EBUSY, None, true).contains("one"));
        assert!(told("pidfd_getfd", Errno::EPERM, Some("1"), true).contains("container"));
        let old = Errno::check(-ENOSYS).unwrap_err();
        assert!(told("seccomp", old, None, false).contains("5.9"));
        assert!(told("pidfd_getfd", Errno::EPERM, None, false).contains("dumpable"));
    }
}
