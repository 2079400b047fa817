// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is seen of a luo-qemu, of its guest, and of the update.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use luo_scenes::stage::within;
use luo_varlink::HistoryEntry;

use super::{Begins, Machine};
use crate::image::STEP;
use crate::patience::PATIENCE;
use crate::ticks::{Tick, Ticks};
use crate::watch;

/// What the firmware says last, before dots and the guest.
const FIRMWARE: &str = "Booting from Hard Disk";

impl Machine {
    /// Looks at each step of the guest from here on.
    pub(crate) fn watch_ticks(&self) -> Result<()> {
        let sizes = self.memory.split(',').map(|size| {
            let size = size.strip_suffix('M').context("it is of MiB")?;
            Ok(size.parse::<u64>()? << 20)
        });
        let memory = sizes.sum::<Result<u64>>()?;
        let ticks = Ticks::watch(self.process()?, memory, &self.folder)?;
        *self.ticks.borrow_mut() = Some(ticks);
        Ok(())
    }

    /// The guest's last step before the jump and its first one after it.
    pub(crate) fn ticks_over_the_jump(&self) -> Result<(Tick, Tick)> {
        let ticks = self.ticks.borrow();
        let found = ticks.as_ref().and_then(Ticks::over_the_jump);
        found.context("the guest was not seen to stand still and go on")
    }

    /// How the luo-qemu has ended. It has to.
    pub(crate) fn ended(&self) -> Result<ExitStatus> {
        watch::ended(&self.running)
    }

    /// The luo-qemu has not ended, unless that was waited for.
    pub(crate) fn lives(&self) -> Result<()> {
        let mut running = self.running.borrow_mut();
        let ended = running.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) => bail!("luo-qemu has ended: {status}"),
            None => Ok(()),
        }
    }

    pub(crate) fn process(&self) -> Result<u32> {
        let running = self.running.borrow();
        Ok(running.as_ref().context("none was started")?.id())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("luo-qemu.log")).unwrap_or_default()
    }

    /// For how long the guest stood still, as luo-qemu has said it of itself.
    pub(crate) fn stood_still(&self) -> Result<Duration> {
        let output = self.stage.luoctl("inspect").arg(self.name).output()?;
        let text = String::from_utf8(output.stdout)?;
        let (_, stood) = text
            .split_once("stood still for ")
            .with_context(|| format!("luoctl inspect says: {text}"))?;
        let seconds: f64 = stood.split(' ').next().unwrap_or_default().parse()?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }

    /// The last QEMU's process, as luo-qemu has told it.
    pub(crate) fn qemu_process(&self) -> Result<u32> {
        let log = self.log();
        let (_, number) = log.rsplit_once("process ").context("no QEMU is told of")?;
        let number = number.lines().next().unwrap_or_default();
        Ok(number.trim().parse()?)
    }

    /// Lines of the log with a text.
    pub(crate) fn lines(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    /// What the guest has counted, line by line. Each follows from the one before, from the
    /// first one on: nothing is left out, and nothing happens twice.
    ///
    /// # Errors
    /// One does not follow.
    pub fn counts(&self) -> Result<u64> {
        if matches!(self.begins, Begins::Bare(_)) {
            let lines = self.bare_lines()?;
            return Ok(lines.last().map_or(0, |line| line.count));
        }
        let text = fs::read_to_string(self.path("serial")).unwrap_or_default();
        let text = match (text.rsplit_once(FIRMWARE), self.firmware_speaks) {
            (Some((_, rest)), true) => rest.trim_start_matches(['.', '\r', '\n']),
            (None, true) => "",
            (_, false) => &text,
        };
        let mut count = 0;
        // The last line may be under way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            count += STEP;
            ensure!(
                line == format!("{count:08x}"),
                "after {:08x} the guest said: {line}",
                count - STEP
            );
        }
        Ok(count)
    }

    /// Waits until the guest has counted on.
    ///
    /// # Errors
    /// It does not.
    pub fn counts_on(&self) -> Result<()> {
        let before = self.counts()?;
        let what = format!("that the guest counts on from {before:#x}");
        let counted = within(PATIENCE, &what, || {
            self.lives()?;
            Ok(self.counts()? >= before + 3 * STEP)
        });
        counted.with_context(|| self.log())
    }

    /// Waits until the agent has the guest, connected and running.
    ///
    /// # Errors
    /// It does not.
    pub fn runs(&self) -> Result<()> {
        let running = within(PATIENCE, "that the agent has the guest", || {
            self.lives()?;
            Ok(self.stage.all_run(&[self.name]).is_ok())
        });
        running.with_context(|| self.log())
    }

    /// Waits until the agent has forgotten the guest, and no update is under way.
    pub(crate) fn is_forgotten(&self) -> Result<()> {
        watch::is_forgotten(&self.stage, self.name)
    }

    /// Waits until the update is over, with everything back.
    ///
    /// # Errors
    /// It is not.
    pub fn is_completed(&self) -> Result<HistoryEntry> {
        watch::is_completed(&self.stage, || self.log())
    }

    /// Jumps.
    pub(crate) fn jump(&self) -> Result<()> {
        watch::jump(&self.stage, || self.log())
    }
}
