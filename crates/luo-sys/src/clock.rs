// SPDX-License-Identifier: MIT OR Apache-2.0
//! A counter that goes on over a kexec.
//!
//! Every clock of the kernel begins anew, or is set from a clock of whole seconds. The
//! processor's own counter does not know of the jump.

/// The processor's counter of time, if it has one that programs may read: the time
/// stamp counter of x86-64. Its rate is constant on processors of this century, and is
/// found by comparing it with a clock.
#[must_use]
pub fn ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the instruction reads a counter and nothing else. Linux lets programs
        // read it unless one has asked for a fault with PR_SET_TSC, which this one has
        // not.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn it_goes_on() {
        let first = super::ticks().unwrap();
        assert!((0..1_000_000).any(|_| super::ticks().unwrap() > first));
    }
}
