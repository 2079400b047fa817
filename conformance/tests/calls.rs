// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suite and the table of calls say the same of errors.

use luo_abi::calls::{CALLS, Call, Name};
use luo_abi::errno::Errno;
use luo_conformance::TOPICS;

/// What the topic `errors` demands: pairs of a call and an error number. Its cases are
/// called CALL-condition-is-ERRNO.
fn demanded() -> Vec<(&'static Call, &'static str)> {
    let topic = TOPICS.iter().find(|topic| topic.name == "errors").unwrap();
    let pairs = topic.cases.iter().map(|case| {
        let (word, rest) = case.name.split_once('-').unwrap();
        let (_, errno) = rest.rsplit_once("-is-").unwrap();
        let call = CALLS.iter().find(|call| call.word == word);
        (call.unwrap_or_else(|| panic!("no call {word}")), errno)
    });
    pairs.collect()
}

fn errno(name: &str) -> Errno {
    let all = (1..=133).filter_map(|number: i32| Errno::check(-number).err());
    let mut named = all.filter(|errno| errno.name() == Some(name));
    named.next().unwrap_or_else(|| panic!("no error {name}"))
}

#[test]
fn an_error_that_a_case_demands_is_in_the_table() {
    for (call, name) in demanded() {
        // The odd error of the test driver's handler is passed on.
        let passed_on = call.asks && name == "EFBIG";
        assert!(
            passed_on || call.may_answer(errno(name)),
            "{} may end with {name} and the table does not say so",
            call.word
        );
    }
}

#[test]
fn an_error_that_is_in_the_table_has_a_case() {
    let demanded = demanded();
    for call in CALLS {
        for error in call.errors {
            let elsewhere = match *error {
                // Limits take hours to reach, and waiting has a topic of its own.
                Errno::ENOSPC | Errno::EAGAIN => true,
                // What is needed cannot go once everything is prepared.
                Errno::ENOLINK => call.name == Name::EventFreeze,
                // Once the reboot has frozen everything nobody is there who could call; and
                // that an event waits in vain is of the topic of waiting.
                Errno::EBUSY => matches!(
                    call.name,
                    Name::CreateSession
                        | Name::RetrieveSession
                        | Name::RetrieveFd
                        | Name::EventPrepare
                        | Name::EventFreeze
                        | Name::EventCancel
                        | Name::EventFinish
                ),
                // Whatever is lost has a topic of its own.
                Errno::ENOTRECOVERABLE => true,
                // And whose a session is, and files of others that are not there yet.
                Errno::ENAMETOOLONG | Errno::EDQUOT | Errno::ENOTCONN => true,
                Errno::EACCES => call.name == Name::AddDependency,
                _ => false,
            };
            if elsewhere {
                continue;
            }
            let name = error.name().unwrap();
            let mut cases = demanded.iter();
            assert!(
                cases.any(|(of, with)| of.name == call.name && *with == name),
                "no case demands {name} of {}",
                call.word
            );
        }
    }
}
