// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether luod can write down what it has to: notes, the history, a picture.

use std::path::PathBuf;

use luo_varlink::{Check, CheckStatus};

use crate::agent::Agent;
use crate::agent::doubt;
use crate::agent::view::{full_disk, full_remedy};
use crate::decide::unwritable::unwritable;
use crate::journal::notes::ROOM;
use crate::journal::picture;

impl Agent {
    /// Whether luod can note what it has to know if it is started again.
    pub(super) async fn check_notes(&self) -> Option<Check> {
        let notes = self.notes.clone();
        let why = self.fails(move || notes.reserve()).await?;
        let folder = self.notes.folder().display();
        Some(Check {
            name: "notes".to_owned(),
            status: CheckStatus::Failed,
            found: format!(
                "luod needs {} KiB in {folder} to note what a restart of it must not lose: {why}",
                ROOM >> 10
            ),
            remedy: Some(
                unwritable(
                    &why,
                    "make room there (`df` says how much there is, `du -x` who has filled it), or \
                     make it larger: `mount -o remount,size=`",
                )
                .to_owned(),
            ),
        })
    }

    /// Whether notes are damaged of the last update, or of one that is not over.
    pub(super) fn check_damage(&self) -> Vec<Check> {
        let warning = |found: String, remedy: Option<&str>| Check {
            name: "notes".to_owned(),
            status: CheckStatus::Warning,
            found,
            remedy: remedy.map(str::to_owned),
        };
        let state = self.state.borrow();
        let doubt = state.doubt().into_iter();
        let doubt = doubt.map(|found| warning(found, Some(doubt::REMEDY)));
        let damaged = state.damaged.iter().cloned();
        doubt
            .chain(damaged.map(|found| warning(found, None)))
            .collect()
    }

    /// Whether the update could be written down when it is over.
    pub(super) async fn check_history(&self) -> Option<Check> {
        let history = self.history.clone();
        let why_not = self.fails(move || history.is_writable()).await;
        self.tried.found(why_not.clone());
        let why = why_not?;
        Some(Check {
            name: "history".to_owned(),
            status: CheckStatus::Warning,
            found: full_disk(&self.config(), &why),
            remedy: Some(full_remedy(&why).to_owned()),
        })
    }

    /// Whether the picture of the update could be written that somebody wants.
    pub(super) async fn check_report(&self) -> Option<Check> {
        let path = self.state.borrow().update.as_ref()?.report.clone()?;
        let wanted = PathBuf::from(&path);
        let workloads = self.state.borrow().workloads.len();
        let reserved = self.fails(move || picture::reserve(&wanted, workloads));
        let why = reserved.await?;
        Some(Check {
            name: "report".to_owned(),
            status: CheckStatus::Failed,
            found: format!("the report cannot be written to {path}: {why}"),
            remedy: Some(
                match why.contains(picture::NOT_OURS) {
                    true => "name a file that is not there yet, or move that one away",
                    false => {
                        "name a file in a folder with room that luod may write to: its unit allows \
                         /var/lib/luod, and what ReadWritePaths= names beside it"
                    }
                }
                .to_owned(),
            ),
        })
    }
}
