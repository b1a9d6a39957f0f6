//! A sink's own task: for what goes on between two batches.
//!
//! In: jobs. Out: what the task makes of them. It starts with the first job, because a sink may be built outside of a
//! runtime.
//!
//! Invariants: 1. there is at most one task. 2. A job that is handed over was taken in its order, one at a time. 3. The
//! task does not outlive its owner: [`JobTask::join`] waits until it has ended, and dropped it is aborted, also when
//! somebody gave up waiting.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// A task that takes jobs.
pub struct JobTask<J> {
    jobs: OnceLock<mpsc::Sender<J>>,
    task: Mutex<Option<Owned>>,
}

impl<J> fmt::Debug for JobTask<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobTask(started: {})", self.is_started())
    }
}

impl<J> Default for JobTask<J> {
    fn default() -> Self {
        Self {
            jobs: OnceLock::new(),
            task: Mutex::new(None),
        }
    }
}

impl<J> JobTask<J> {
    /// Whether it has had a job.
    pub fn is_started(&self) -> bool {
        self.jobs.get().is_some()
    }

    /// Hands a job over; waits while the task is busy with another. The first job starts the task that `run` makes.
    ///
    /// Errors: [`Ended`] if the task has ended. Cancel: safe; the job was not handed over.
    pub async fn hand<F>(&self, job: J, run: impl FnOnce(mpsc::Receiver<J>) -> F) -> Result<(), Ended>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let jobs = self.jobs.get_or_init(|| {
            let (jobs, queue) = mpsc::channel(1);
            let task = Owned(tokio::spawn(run(queue).in_current_span()));
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            jobs
        });
        jobs.send(job).await.map_err(|_| Ended)
    }

    /// Waits until the task has ended, which its last job tells it to. Cancel: the task is aborted.
    pub async fn join(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if let Err(error) = (&mut task.0).await
            && error.is_panic()
        {
            tracing::error!(%error, "a sink's task failed");
        }
    }
}

/// The task has ended: it takes no job any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// A task that is aborted when nobody has it any more.
struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    type Job = Option<oneshot::Sender<usize>>;

    /// Answers with a count that goes up; `None` is the last job. `alive` goes with the task.
    async fn count(mut queue: mpsc::Receiver<Job>, alive: Arc<()>) {
        let mut count = 0;
        while let Some(Some(reply)) = queue.recv().await {
            count += 1;
            let _ = reply.send(count);
        }
        drop(alive);
    }

    fn started() -> (
        JobTask<Job>,
        impl Fn(mpsc::Receiver<Job>) -> futures_util::future::BoxFuture<'static, ()>,
        Weak<()>,
    ) {
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let slot = Mutex::new(Some(alive));
        let run = move |queue| {
            let alive = slot.lock().unwrap().take().unwrap();
            Box::pin(count(queue, alive)) as futures_util::future::BoxFuture<'static, ()>
        };
        (JobTask::default(), run, weak)
    }

    async fn ask(
        task: &JobTask<Job>,
        run: impl Fn(mpsc::Receiver<Job>) -> futures_util::future::BoxFuture<'static, ()>,
    ) -> usize {
        let (reply, answer) = oneshot::channel();
        task.hand(Some(reply), run).await.unwrap();
        answer.await.unwrap()
    }

    /// Waits until the task is gone; the runtime has turns enough for an abort.
    async fn gone(alive: &Weak<()>) -> bool {
        for _ in 0..100 {
            if alive.strong_count() == 0 {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[tokio::test]
    async fn one_task_takes_every_job_and_has_ended_after_the_join() {
        let (task, run, alive) = started();
        assert!(!task.is_started());
        assert_eq!((ask(&task, &run).await, ask(&task, &run).await), (1, 2));
        task.hand(None, &run).await.unwrap();
        task.join().await;
        assert_eq!(alive.strong_count(), 0);
        assert_eq!(task.hand(None, &run).await, Err(Ended));
    }

    #[tokio::test]
    async fn it_goes_with_its_owner_also_in_the_middle_of_a_job() {
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let task = JobTask::<Job>::default();
        let stuck = |queue: mpsc::Receiver<Job>| async move {
            let _both = (queue, alive);
            std::future::pending().await
        };
        task.hand(None, stuck).await.unwrap();
        assert!(!gone(&weak).await);
        drop(task);
        assert!(gone(&weak).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_also_when_nobody_waits_to_the_end() {
        let (task, run, alive) = started();
        ask(&task, &run).await;
        assert!(timeout(Duration::from_secs(1), task.join()).await.is_err());
        assert!(gone(&alive).await, "the join was given up, so the task was aborted");
    }

    #[tokio::test]
    async fn what_never_had_a_job_has_no_task_to_wait_for() {
        JobTask::<Job>::default().join().await;
    }
}
