// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that talks to the kernel.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::Kernel;

type Job = Box<dyn FnOnce(&mut Kernel) + Send>;

/// A handle of it; the thread ends with the last one.
#[derive(Clone)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start() -> std::io::Result<Self> {
        Self::start_with(Kernel::default())
    }

    pub(crate) fn start_with(mut kernel: Kernel) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("kernel".into())
            .spawn(move || {
                for job in queue {
                    job(&mut kernel);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Has the thread do something, after all that it was asked for before.
    ///
    /// # Panics
    /// If the thread has panicked, which is a bug.
    pub async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Kernel) -> R + Send + 'static,
    ) -> R {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |kernel| {
            // Who does not want to know any more has gone.
            let _ = tell.send(job(kernel));
        });
        let sent = self.jobs.send(job);
        match (sent, told.await) {
            (Ok(()), Ok(done)) => done,
            _ => panic!("the thread that talks to the kernel is gone"),
        }
    }
}
