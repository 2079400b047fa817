// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the handlers, FLBs and subsystems of a test do.

use luo_abi::errno::Errno;
use luo_core::held::{Files, wait_for_holder};
use luo_core::{
    FileCallbacks, FlbCallbacks, Incoming, Kind, Outgoing, Preserved, Retrieval, Subject,
    SubsystemCallbacks, Unrestored, ops,
};

use super::pipes::ENDS;
use super::{
    FROZEN, TestFile, TestFlb, TestHandler, TestHost, TestObject, TestPin, TestPrivate,
    TestSubsystem,
};
use crate::ledger::{Lent, assert_unlocked};
use crate::script::Call;

impl TestHandler {
    fn is_of_pipes(self) -> bool {
        self.0 == Self::PIPES
    }
}

impl TestHost {
    /// Waits for an object that somebody has locked.
    fn wait_for(&self, of: &Subject, object: u64) -> Result<(), Errno> {
        let Some(locked) = self.script().locked.get(&object).copied() else {
            return Ok(());
        };
        wait_for_holder(self, of, Files::Memfds, |pauses| {
            let waited = locked.min(*pauses);
            *pauses -= waited;
            self.script().pauses += u64::from(waited);
            if locked > waited {
                return Err(Errno::EBUSY);
            }
            Ok(())
        })
    }
}

impl FileCallbacks<TestHost> for TestHandler {
    fn pin(&self, host: &TestHost) -> Option<TestPin> {
        host.pinned(Call::PinHandler, self.0)?;
        Some(TestPin(host.ticket(Lent::Pin)))
    }

    fn is_ready(&self, host: &TestHost) -> bool {
        !host.script().unready.contains(&self.0)
    }

    fn object_id(&self, _: &TestHost, file: &TestFile) -> u64 {
        assert_unlocked("object_id");
        file.object
    }

    fn can_preserve(&self, host: &TestHost, file: &TestFile) -> bool {
        let told = host.called(Call::CanPreserve, file.object, "");
        told.is_ok() && file.kind == self.0
    }

    fn bytes(&self, host: &TestHost, file: &TestFile) -> u64 {
        assert_unlocked("bytes");
        if self.is_of_pipes() {
            return ENDS.bytes(host, file);
        }
        let grown = host.script().grown;
        file.object.wrapping_mul(4096).wrapping_add(grown)
    }

    fn preserve(
        &self,
        host: &TestHost,
        of: &Subject,
        file: &TestFile,
    ) -> Result<Preserved<TestHost>, Errno> {
        let needed = host.script().needs.get(&file.object).copied();
        if let Some(needed) = needed {
            let token = ops::need_object(host, of, needed).map_err(|why| why.errno())?;
            host.script().log.push(format!("needs token {token}"));
        }
        let needed = host.script().needs_files.get(&file.object).copied();
        if let Some((kind, object)) = needed {
            let needed = host.new_file(kind, object);
            let token = ops::need_file(host, of, &needed).map_err(|why| why.errno())?;
            host.script().log.push(format!("needs token {token}"));
        }
        host.called(Call::Preserve, file.object, "preserve")?;
        host.wait_for(of, file.object)?;
        let data = match self.is_of_pipes() {
            true => ENDS.preserve(host, of, file)?.0,
            false => file.object,
        };
        host.memory().inspect_err(|_| {
            if self.is_of_pipes() {
                ENDS.unpreserve(host, file);
            }
        })?;
        Ok(Preserved {
            data,
            private: TestPrivate {
                object: file.object,
                frozen: false,
                _ticket: host.ticket(Lent::Private),
            },
        })
    }

    fn unpreserve(&self, host: &TestHost, file: Outgoing<'_, TestHost>) {
        assert_eq!(file.private.object, file.file.object);
        assert!(!file.private.frozen, "unpreserved while frozen");
        let _ = host.called(Call::Unpreserve, file.file.object, "unpreserve");
        if self.is_of_pipes() {
            ENDS.unpreserve(host, file.file);
        }
    }

    fn freeze(&self, host: &TestHost, file: Outgoing<'_, TestHost>) -> Result<u64, Errno> {
        assert!(!file.private.frozen, "frozen twice");
        host.called(Call::Freeze, file.file.object, "freeze")?;
        if self.is_of_pipes() {
            ENDS.freeze(host, file.file, &mut ())?;
            file.private.frozen = true;
            return Ok(file.data);
        }
        file.private.frozen = true;
        Ok(file.data | FROZEN)
    }

    fn unfreeze(&self, host: &TestHost, file: Outgoing<'_, TestHost>) {
        assert!(file.private.frozen, "unfrozen, and was not frozen");
        file.private.frozen = false;
        if self.is_of_pipes() {
            ENDS.unfreeze(host, file.file, &mut ());
        } else {
            assert_eq!(file.data, file.file.object | FROZEN);
        }
        let _ = host.called(Call::Unfreeze, file.file.object, "unfreeze");
    }

    fn lose(&self, host: &TestHost, file: Outgoing<'_, TestHost>) {
        assert_unlocked("lose");
        assert!(!file.private.frozen, "lost while frozen");
        host.script().log.push(format!("lose {}", file.file.object));
    }

    fn retrieve(&self, host: &TestHost, of: &Subject, data: u64) -> Result<TestFile, Unrestored> {
        let object = data & !FROZEN;
        host.called(Call::Retrieve, object, "retrieve")?;
        if self.is_of_pipes() {
            return ENDS.retrieve(host, of, data);
        }
        let wanted = host.script().wants.get(&object).copied();
        if let Some(token) = wanted {
            let with = ops::needed_file(host, of, token).map_err(|why| why.errno())?;
            host.script().log.push(format!("with {}", with.object));
        }
        if host.script().too_large.contains(&object) {
            return Err(Unrestored::Now(Errno::ENOMEM));
        }
        host.memory()?;
        Ok(host.new_file(self.0, object))
    }

    fn can_finish(&self, host: &TestHost, file: &Incoming<'_, TestHost>) -> bool {
        let object = file.data & !FROZEN;
        let told = host.called(Call::CanFinish, object, "can_finish");
        told.is_ok() && !host.script().stuck.contains(&object)
    }

    fn finish(&self, host: &TestHost, file: &Incoming<'_, TestHost>) {
        let done = file.retrieval == luo_core::Retrieval::Done;
        assert_eq!(file.file.is_some(), done);
        let _ = host.called(Call::Finish, file.data & !FROZEN, "finish");
        if self.is_of_pipes() && file.retrieval == Retrieval::None {
            ENDS.discard(host, file.data);
        }
    }
}

impl FlbCallbacks<TestHost> for TestFlb {
    fn pin(&self, host: &TestHost) -> Option<TestPin> {
        host.pinned(Call::PinFlb, self.0)?;
        Some(TestPin(host.ticket(Lent::Pin)))
    }

    fn preserve(&self, host: &TestHost) -> Result<(u64, Option<TestObject>), Errno> {
        host.called(Call::FlbPreserve, self.0.into(), "flb_preserve")?;
        host.memory()?;
        Ok((u64::from(self.0) + 0x1000, host.new_object(self)))
    }

    fn unpreserve(&self, host: &TestHost, data: u64, object: Option<TestObject>) {
        assert_eq!(data, u64::from(self.0) + 0x1000);
        drop(object);
        let _ = host.called(Call::FlbUnpreserve, self.0.into(), "flb_unpreserve");
    }

    fn retrieve(&self, host: &TestHost, data: u64) -> Result<Option<TestObject>, Errno> {
        host.check_arrived(data, u64::from(self.0) + 0x1000);
        host.called(Call::FlbRetrieve, self.0.into(), "flb_retrieve")?;
        host.memory()?;
        Ok(host.new_object(self))
    }

    fn finish(&self, host: &TestHost, object: Option<TestObject>) {
        drop(object);
        let _ = host.called(Call::FlbFinish, self.0.into(), "flb_finish");
    }
}

impl SubsystemCallbacks<TestHost> for TestSubsystem {
    fn pin(&self, host: &TestHost) -> Option<TestPin> {
        host.pinned(Call::PinSubsystem, self.0)?;
        Some(TestPin(host.ticket(Lent::Pin)))
    }

    fn prepare(&self, host: &TestHost) -> Result<u64, Errno> {
        let number = u64::from(self.0);
        host.called(Call::SubsystemPrepare, number, "subsystem_prepare")?;
        Ok(self.leaves())
    }

    fn freeze(&self, host: &TestHost, data: u64) -> Result<u64, Errno> {
        let number = u64::from(self.0);
        assert_eq!(data, self.leaves());
        host.called(Call::SubsystemFreeze, number, "subsystem_freeze")?;
        Ok(if data == 0 { 0 } else { data | FROZEN })
    }

    fn cancel(&self, host: &TestHost, data: u64) {
        let number = u64::from(self.0);
        assert_eq!(data & !FROZEN, self.leaves());
        let _ = host.called(Call::SubsystemCancel, number, "subsystem_cancel");
    }

    fn finish(&self, host: &TestHost, data: u64) {
        let number = u64::from(self.0);
        host.check_arrived(data, self.leaves() | FROZEN);
        let _ = host.called(Call::SubsystemFinish, number, "subsystem_finish");
    }
}
