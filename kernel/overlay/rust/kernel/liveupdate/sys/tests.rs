// SPDX-License-Identifier: GPL-2.0-only

//! Handlers as the orchestrator calls them: by the callbacks in C.
//!
//! What an orchestrator makes of that, and what becomes of files over a kexec, is seen from
//! outside, by programs.

#[macros::kunit_tests(rust_liveupdate)]
mod tests {
    use core::ptr::{
        self,
        NonNull, //
    };

    use super::super::session;
    use crate::{
        bindings,
        error::{
            from_err_ptr,
            to_result, //
        },
        fs::File,
        liveupdate::{
            FileHandler,
            HandedPage,
            Handler,
            HandlerRegistration,
            Incoming,
            Needed,
            Outgoing,
            Preserved,
            PreservedPage,
            Retrieval,
            Session,
            Token, //
        },
        page::PAGE_SIZE,
        prelude::*,
        sync::{
            aref::ARef,
            atomic::{
                Atomic,
                Relaxed, //
            }, //
        }, //
    };

    type Args = bindings::liveupdate_file_op_args;

    /// How many [`Held`] there are. Tests run one after the other.
    static HELD: Atomic<i32> = Atomic::new(0);

    /// The error number that the handler answers with, 0 for none.
    static ERRNO: Atomic<i32> = Atomic::new(0);

    /// What the handler was told last when a file was finished: 1 and the retrieval's result.
    static TOLD: Atomic<i32> = Atomic::new(0);

    /// What is kept of a file, with what has happened to it.
    struct Held(u64);

    impl Held {
        fn new() -> Self {
            HELD.add(1, Relaxed);
            Self(1)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.add(-1, Relaxed);
        }
    }

    fn answer() -> Result {
        to_result(-ERRNO.load(Relaxed))
    }

    /// A handler with all callbacks.
    struct Full;

    #[vtable]
    impl FileHandler for Full {
        const COMPATIBLE: &'static CStr = c"kunit-full-v1";

        type Data = Held;

        fn can_preserve(&self, _file: &File) -> bool {
            ERRNO.load(Relaxed) == 0
        }

        fn object_id(_file: &File) -> usize {
            77
        }

        fn preserve(&self, _session: &Session<'_>, _file: &File) -> Result<Preserved<Held>> {
            let data = Held::new();
            answer()?;
            Ok(Preserved { handle: 5, data })
        }

        fn freeze(&self, file: &mut Outgoing<'_, Held>) -> Result<u64> {
            answer()?;
            file.data.0 += 1;
            Ok(file.handle + file.data.0)
        }

        fn unfreeze(&self, file: &mut Outgoing<'_, Held>) {
            file.data.0 = 0;
        }

        fn retrieve(&self, _session: &Session<'_>, handle: u64) -> Result<ARef<File>> {
            answer()?;
            if handle == 5 {
                file()
            } else {
                Err(EINVAL)
            }
        }

        fn can_finish(&self, file: &Incoming<'_>) -> bool {
            file.file.is_some() && file.handle == 5
        }

        fn finish(&self, file: &Incoming<'_>) {
            TOLD.store(
                match file.retrieval {
                    Retrieval::None => 1,
                    Retrieval::Done => 2,
                    Retrieval::Failed(why) => why.to_errno(),
                },
                Relaxed,
            );
        }
    }

    static FULL: Handler<Full> = Handler::new(Full);

    /// A handler with those that must be there, which knows no file.
    struct Bare;

    #[vtable]
    impl FileHandler for Bare {
        const COMPATIBLE: &'static CStr = c"kunit-bare-v1";

        type Data = ();

        fn can_preserve(&self, _file: &File) -> bool {
            false
        }

        fn preserve(&self, _session: &Session<'_>, _file: &File) -> Result<Preserved<()>> {
            Err(ENODEV)
        }

        fn retrieve(&self, _session: &Session<'_>, _handle: u64) -> Result<ARef<File>> {
            Err(ENODEV)
        }

        fn finish(&self, _file: &Incoming<'_>) {}
    }

    static BARE: Handler<Bare> = Handler::new(Bare);

    /// Any file will do: an eventfd.
    fn file() -> Result<ARef<File>> {
        // SAFETY: Takes any values.
        let file = from_err_ptr(unsafe { bindings::luo_eventfd_make(0, false, false) })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;
        // SAFETY: The file is new, its one reference is ours, and no task has it.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }

    fn table<T: FileHandler>(
        handler: &'static Handler<T>,
    ) -> &'static bindings::liveupdate_file_ops {
        // SAFETY: By the invariant of a handler both are there, and constant.
        unsafe { &*(*handler.as_raw()).ops }
    }

    fn args(file: &File) -> Args {
        Args {
            handler: FULL.as_raw(),
            file: file.as_ptr(),
            ..Default::default()
        }
    }

    /// Of a file that the previous kernel has left.
    fn left(handle: u64) -> Args {
        Args {
            handler: FULL.as_raw(),
            serialized_data: handle,
            ..Default::default()
        }
    }

    /// Calls a callback of [`FULL`] as the orchestrator does.
    macro_rules! call {
        ($callback:ident, $args:expr) => {{
            let callback = table(&FULL).$callback.ok_or(EINVAL)?;
            // SAFETY: The arguments are those of such a call: the handler's own, with files and
            // data that are there.
            unsafe { callback(&mut $args) }
        }};
    }

    /// The name is there to its end, and only callbacks that the driver has are in the table.
    #[test]
    fn the_table_has_what_the_driver_has() {
        // SAFETY: By the invariant of a handler it is there, and constant.
        let name = unsafe { (*FULL.as_raw()).compatible };
        assert!(name.starts_with(c"kunit-full-v1".to_bytes_with_nul()));
        assert!(name.iter().skip(13).all(|&byte| byte == 0));
        let (full, bare) = (table(&FULL), table(&BARE));
        assert!(full.freeze.is_some() && full.unfreeze.is_some() && full.can_finish.is_some());
        assert!(bare.freeze.is_none() && bare.unfreeze.is_none() && bare.can_finish.is_none());
        for table in [full, bare] {
            assert!(table.preserve.is_some() && table.unpreserve.is_some());
            assert!(table.retrieve.is_some() && table.finish.is_some());
        }
    }

    #[test]
    fn what_is_kept_is_dropped_when_the_file_is_let_go_of() -> Result {
        let file = file()?;
        let mut args = args(&file);
        assert_eq!(call!(preserve, args), 0);
        assert_eq!(args.serialized_data, 5);
        assert_eq!(HELD.load(Relaxed), 1);
        call!(unpreserve, args);
        assert_eq!(HELD.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn of_a_file_that_is_refused_nothing_is_kept() -> Result {
        let file = file()?;
        let mut args = args(&file);
        ERRNO.store(EFBIG.to_errno().abs(), Relaxed);
        let refused = call!(preserve, args);
        ERRNO.store(0, Relaxed);
        assert_eq!(refused, EFBIG.to_errno());
        assert!(args.private_data.is_null() && args.serialized_data == 0);
        assert_eq!(HELD.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_freeze_changes_the_handle_and_a_veto_does_not() -> Result {
        let file = file()?;
        let mut args = args(&file);
        assert_eq!(call!(preserve, args), 0);
        assert_eq!(call!(freeze, args), 0);
        assert_eq!(args.serialized_data, 7);
        call!(unfreeze, args);
        // What the one callback has done the next one finds.
        assert_eq!(call!(freeze, args), 0);
        assert_eq!(args.serialized_data, 8);
        ERRNO.store(EFBIG.to_errno().abs(), Relaxed);
        let veto = call!(freeze, args);
        ERRNO.store(0, Relaxed);
        assert_eq!(veto, EFBIG.to_errno());
        assert_eq!(args.serialized_data, 8);
        call!(unpreserve, args);
        assert_eq!(HELD.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn what_is_retrieved_is_the_callers() -> Result {
        let mut args = left(5);
        assert_eq!(call!(retrieve, args), 0);
        let file = NonNull::new(args.file).ok_or(EIO)?;
        // SAFETY: The callback has given a reference, and no task has the file.
        let file: ARef<File> = unsafe { ARef::from_raw(file.cast()) };
        assert!(call!(can_finish, args));
        drop(file);
        let mut args = left(6);
        assert_eq!(call!(retrieve, args), EINVAL.to_errno());
        assert!(args.file.is_null());
        assert!(!call!(can_finish, args));
        Ok(())
    }

    #[test]
    fn a_finish_says_what_has_come_of_the_file() -> Result {
        for (status, told) in [(0, 1), (1, 2), (EIO.to_errno(), EIO.to_errno())] {
            let mut args = Args {
                retrieve_status: status,
                ..left(5)
            };
            call!(finish, args);
            assert_eq!(TOLD.load(Relaxed), told);
        }
        Ok(())
    }

    #[test]
    fn a_file_is_asked_for_and_numbered() -> Result {
        let (file, other) = (file()?, file()?);
        let can = table(&FULL).can_preserve.ok_or(EINVAL)?;
        let id = table(&FULL).get_id.ok_or(EINVAL)?;
        let own = table(&BARE).get_id.ok_or(EINVAL)?;
        // SAFETY: Both files are open, and the handler is the callback's own.
        unsafe {
            assert!(can(FULL.as_raw(), file.as_ptr()));
            assert_eq!(id(file.as_ptr()), 77);
            // Who says nothing of it has each file stand for itself.
            assert_eq!(own(file.as_ptr()), own(file.as_ptr()));
            assert!(own(file.as_ptr()) != own(other.as_ptr()));
        }
        Ok(())
    }

    /// The registration, or none where live update is off.
    fn register() -> Result<Option<HandlerRegistration<Bare>>> {
        match BARE.register() {
            Err(EOPNOTSUPP) => Ok(None),
            registered => registered.map(Some),
        }
    }

    #[test]
    fn it_is_registered_until_the_registration_is_dropped() -> Result {
        for _ in 0..2 {
            let Some(registration) = register()? else {
                return Ok(());
            };
            assert!(matches!(register(), Err(EEXIST)));
            drop(registration);
        }
        Ok(())
    }

    #[test]
    fn without_a_session_nothing_is_needed() -> Result {
        // SAFETY: Null is allowed.
        let session = unsafe { session::Session::new(ptr::null_mut()) };
        assert!(matches!(session.need(&Needed::from(file()?)), Err(EINVAL)));
        assert!(matches!(session.get(Token(1)), Err(EINVAL)));
        Ok(())
    }

    /// What this kernel preserves is not what the previous one has.
    #[test]
    fn a_page_is_handed_over_by_the_previous_kernel_only() -> Result {
        let mut page = PreservedPage::new()?;
        page.write(&[1_u64, 2, 3]);
        let address = page.address();
        assert_eq!(address % PAGE_SIZE as u64, 0);
        for address in [address, address + 1, 0, u64::MAX] {
            assert!(matches!(HandedPage::at(address), Err(EINVAL)));
            HandedPage::free(address);
        }
        Ok(())
    }
}
