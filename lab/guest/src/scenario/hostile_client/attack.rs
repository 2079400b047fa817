// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways in which the hostile program tries to hurt others, in each of the two kernels.

use luo_sys::unanswered::Unanswered;

/// Which part it plays: in the kernel that is left,
pub(super) const BEFORE: &str = "before";
/// and in the one that is entered. Further ones are in [`super::programs`].
pub(super) const AFTER: &str = "after";

/// A way to hurt another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attack {
    /// Its files need another's.
    Dependencies,
    /// One of its files needs another that it has taken back.
    Missing,
    /// It makes as many sessions as it can, under names that others want.
    Sessions,
    /// It preserves as many files as it can, and takes them back.
    Files,
    /// It preserves as much memory as it can.
    Bytes,
    /// All its files need each other.
    Dense,
    /// It moves the machine, or asks about all of it; by a descriptor of the
    /// administrator's, too.
    Machine,
    /// Many threads that call, wait and are woken.
    Storm,
    /// It holds a file's lock, for as long as a page does not come, while it has that file
    /// preserved and taken back.
    Fault,
    /// It preserves a file whose handler never comes back.
    Hang,
    /// It holds the lock of a file of the guest's for ever: the page that it writes never comes.
    Lock,
    /// It preserves files of kinds that its own kernel alone may know, and makes of them what
    /// their handlers refuse.
    Kinds,
    /// It has pipes locked while they are preserved: the page that it writes never comes.
    Pipes,
    /// It has more pipes locked, for ever, than a transition has patience for.
    Held,
    /// It uses an eventfd and a timer that the guest's session has preserved, and would have them
    /// for itself.
    Shared,
    /// Many threads that open the device, again and again.
    Opens,
    /// It takes back what is not its own, under all names it can think of.
    Others,
    /// It takes its own sessions back, and lets them go, out of order.
    Own,
    /// It has the kernel tell of it in the log, as often as it can.
    Flood,
}

impl Attack {
    const BEFORE: [Self; 16] = [
        Self::Dependencies,
        Self::Missing,
        Self::Sessions,
        Self::Files,
        Self::Bytes,
        Self::Dense,
        Self::Machine,
        Self::Storm,
        Self::Fault,
        Self::Hang,
        Self::Lock,
        Self::Kinds,
        Self::Pipes,
        Self::Held,
        Self::Shared,
        Self::Opens,
    ];
    /// Those that tell by themselves that they have been tried: they have no end, or come to it
    /// late, because each of their calls stands behind all others of the user's.
    pub(super) const TELLING: [Self; 5] =
        [Self::Dense, Self::Hang, Self::Lock, Self::Pipes, Self::Held];
    const AFTER: [Self; 7] = [
        Self::Others,
        Self::Own,
        Self::Machine,
        Self::Storm,
        Self::Flood,
        Self::Kinds,
        Self::Opens,
    ];
}

/// The attacks of a kernel.
pub(super) fn attacks(when: &str) -> impl Iterator<Item = Attack> {
    let all: &[Attack] = match when {
        AFTER => &Attack::AFTER,
        _ => &Attack::BEFORE,
    };
    // Not each kernel can leave a fault unanswered.
    let faults = [Attack::Fault, Attack::Lock, Attack::Pipes, Attack::Held];
    let can = move |attack: &Attack| !faults.contains(attack) || Unanswered::is_there();
    all.iter().copied().filter(can)
}
