// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that talks to the kernel.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::interface::Kernel;

type Job = Box<dyn FnOnce(&mut dyn Kernel) + Send>;

/// A handle of the thread, which ends with its last handle.
#[derive(Clone)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread, and gives it the kernel that it talks to.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(mut kernel: impl Kernel + Send + 'static) -> std::io::Result<Self> {
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

    /// Has the thread run a job, after all jobs that it was given before.
    ///
    /// # Panics
    /// If the thread has panicked, which is a bug.
    pub async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Kernel) -> R + Send + 'static,
    ) -> R {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |kernel| {
            // If the caller has gone, nobody wants the result.
            let _ = tell.send(job(kernel));
        });
        let sent = self.jobs.send(job);
        match (sent, told.await) {
            (Ok(()), Ok(done)) => done,
            _ => panic!("the thread that talks to the kernel is gone"),
        }
    }
}
