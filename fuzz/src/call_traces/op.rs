// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of a history. Numbers choose among what is there.

use arbitrary::{Arbitrary, Result, Unstructured};
use luo_testhost::Call;

/// A number of small size: most of the bytes of a history say which of a few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Few<const N: u8>(pub(super) u8);

impl<'a, const N: u8> Arbitrary<'a> for Few<N> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(bytes.arbitrary::<u8>()? % N))
    }
}

pub(super) type Who = Few<3>;
pub(super) type Which = Few<4>;
pub(super) type Label = Few<5>;
pub(super) type Token = Few<6>;
pub(super) type Object = Few<12>;

/// What a file is preserved as.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct What {
    pub(super) object: Object,
    pub(super) kind: Few<3>,
    pub(super) access: Few<3>,
}

/// Where the file is that another needs.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Where {
    Here(Token),
    In(Label, Token),
    OnDevice(Token),
}

/// A file of a client's: of one of its sessions, or of its device.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Mine {
    pub(super) who: Who,
    /// The last is the device.
    pub(super) session: Which,
    pub(super) token: Token,
}

/// What fails during the call that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Callback(Call, u8),
    /// The request for memory after so many.
    Memory(u8),
}

/// The callbacks that can say no.
const CALLS: [Call; 15] = [
    Call::AllocBlock,
    Call::PinHandler,
    Call::CanPreserve,
    Call::Preserve,
    Call::Freeze,
    Call::Retrieve,
    Call::CanFinish,
    Call::PinFlb,
    Call::FlbPreserve,
    Call::FlbRetrieve,
    Call::Narrow,
    Call::PinSubsystem,
    Call::SubsystemPrepare,
    Call::SubsystemFreeze,
    Call::Freeze,
];

impl<'a> Arbitrary<'a> for Trouble {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let which = usize::from(bytes.arbitrary::<u8>()?);
        let skip = bytes.arbitrary::<u8>()? % 24;
        Ok(match CALLS.get(which % (CALLS.len() + 5)) {
            Some(&call) => Self::Callback(call, skip),
            None => Self::Memory(skip),
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Something fails during the next call.
    Trouble(Trouble),
    Create(Who, Label),
    Preserve(Mine, What),
    Unpreserve(Mine),
    Register(Who, What),
    Depend(Mine, Where),
    Undepend(Mine, Where),
    FreezeSession(Who, Which),
    Close(Who, Which),
    CloseDevice(Who),
    /// A client is killed: all that it has is closed.
    Die(Who),
    Prepare,
    Freeze,
    Cancel,
    Reboot(bool),
    /// The kexec, if all is frozen.
    Kexec,
    Open,
    /// Whether it can be answered.
    Claim(Who, Label, bool),
    Retrieve(Mine),
    Restore(Token, bool),
    Finish(Who, Which),
    FinishUpdate,
    /// From now on an object cannot be finished; or can again.
    Stick(Object),
    GetOutgoing,
    PutOutgoing,
    GetIncoming,
    PutIncoming,
}

impl<'a> Arbitrary<'a> for Op {
    /// One byte says which; those that lead on are said by several.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match bytes.arbitrary::<u8>()? % 48 {
            0..4 => Self::Trouble(bytes.arbitrary()?),
            4..8 => Self::Create(bytes.arbitrary()?, bytes.arbitrary()?),
            8..14 => Self::Preserve(bytes.arbitrary()?, bytes.arbitrary()?),
            14 => Self::Unpreserve(bytes.arbitrary()?),
            15..18 => Self::Register(bytes.arbitrary()?, bytes.arbitrary()?),
            18..21 => Self::Depend(bytes.arbitrary()?, bytes.arbitrary()?),
            21 => Self::Undepend(bytes.arbitrary()?, bytes.arbitrary()?),
            22 => Self::Close(bytes.arbitrary()?, bytes.arbitrary()?),
            23 => Self::FreezeSession(bytes.arbitrary()?, bytes.arbitrary()?),
            24 => Self::CloseDevice(bytes.arbitrary()?),
            25 => Self::Die(bytes.arbitrary()?),
            26 => Self::Prepare,
            27 => Self::Freeze,
            28 => Self::Cancel,
            29..31 => Self::Reboot(bytes.arbitrary()?),
            31..33 => Self::Kexec,
            33 => Self::Open,
            34..37 => Self::Claim(bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?),
            37..40 => Self::Retrieve(bytes.arbitrary()?),
            40 => Self::Restore(bytes.arbitrary()?, bytes.arbitrary()?),
            41 => Self::Finish(bytes.arbitrary()?, bytes.arbitrary()?),
            42 => Self::FinishUpdate,
            43 => Self::Stick(bytes.arbitrary()?),
            44 => Self::GetOutgoing,
            45 => Self::PutOutgoing,
            46 => Self::GetIncoming,
            _ => Self::PutIncoming,
        })
    }
}
