//! One stage's attempts: timeout, retry, panic. Runs as a task of its own.
//!
//! A handler should not block its thread. Where one may (`MAY_BLOCK`), on a runtime with several workers, the thread is given up to it
//! (`block_in_place`): another thread goes on with the worker's tasks, so that no other stage and no other run waits. The attempt's own
//! timer cannot ring then; the run's does (`Tasks`), and it goes on without the stage. On a runtime of one thread everything waits
//! until the handler returns: there is no other thread that could go on.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::context::{Context, Shared};
use super::diagnostic::shown;
use super::event::{Event, FailureClass};
use super::handler::{FailureKind, HandlerError, HandlerFuture};
use super::output::Outputs;
use super::plan::{Plan, Retry, Stage};

/// How long a cancelled attempt may take to end by itself.
pub(super) const GRACE: Duration = Duration::from_secs(4);

/// How a stage's attempts ended.
#[derive(Debug)]
pub(super) enum Ending {
    Succeeded(Value),
    Failed(Failure),
    TimedOut(Failure),
    Parked(String),
    /// The run was stopped before the stage could finish.
    Stopped,
}

/// The error of the last attempt, and what the handler could report.
#[derive(Debug)]
pub(super) struct Failure {
    pub class: FailureClass,
    pub error: String,
    pub evidence: Option<Value>,
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A handler that blocks its thread and did not come back.
    pub(super) fn stuck(timeout: Duration) -> Self {
        Self {
            class: FailureClass::Timeout,
            error: format!(
                "no result within {timeout:?}, and the handler did not stop: it holds its thread, so there is no other attempt"
            ),
            evidence: None,
            retry_after: None,
        }
    }
}

/// Everything that a stage's task owns.
pub(super) struct Work {
    pub plan: Arc<Plan>,
    pub stage: usize,
    pub outputs: Outputs,
    pub shared: Arc<Shared>,
    /// When the run began the first attempt.
    pub started: Instant,
    /// Whether the handler may block, and the runtime has other workers, so that one can go on with what a blocked thread leaves.
    pub gives_up_thread: bool,
}

/// How one attempt ended.
enum Attempt {
    Ended(Result<Value, HandlerError>),
    TimedOut(Option<Value>),
    Panicked(String),
}

impl Work {
    /// Makes attempts until one succeeds, or fails for good. The run itself tells of the first one.
    pub(super) async fn perform(&self) -> Ending {
        let stage = &self.plan.stages()[self.stage];
        let mut delays = None;
        let mut number = 1;
        let mut started = self.started;
        loop {
            let (ending, retried) = judge(stage, self.attempt(stage, number, started).await);
            if self.shared.stop.is_cancelled() && !matches!(ending, Ending::Succeeded(_)) {
                return Ending::Stopped;
            }
            let (class, error, asked) = match &ending {
                Ending::Failed(failure) | Ending::TimedOut(failure) => {
                    (failure.class, failure.error.clone(), failure.retry_after)
                }
                Ending::Succeeded(_) | Ending::Parked(_) | Ending::Stopped => {
                    return ending;
                }
            };
            let delays = delays.get_or_insert_with(|| delays_of(stage.retry));
            let Some(delay) = delays.next().filter(|_| retried) else {
                return ending;
            };
            let delay = delay.max(asked.unwrap_or_default().min(stage.retry.max));
            self.shared.emit(Event::StageRetrying {
                stage: Arc::clone(&stage.id),
                attempt: number,
                class,
                error,
                delay_seconds: delay.as_secs_f64(),
            });
            tokio::select! {
                () = Box::pin(sleep(delay)) => {}
                () = self.shared.stop.cancelled() => return Ending::Stopped,
            }
            number += 1;
            started = Instant::now();
            self.shared.emit(Event::StageStarted {
                stage: Arc::clone(&stage.id),
                attempt: number,
                waited_seconds: delay.as_secs_f64(),
            });
        }
    }

    async fn attempt(&self, stage: &Stage, number: u32, started: Instant) -> Attempt {
        let deadline = started + stage.timeout;
        let context = Context::of(&self.shared, Arc::clone(&stage.id), number, deadline);
        let handler = Blockable {
            future: stage.built.run(&self.outputs, &context),
            gives_up_thread: self.gives_up_thread,
        };
        let mut handler = AssertUnwindSafe(handler).catch_unwind();
        // What ends at once needs no timer. What a timer takes is not in the task, which is moved and allocated for every stage.
        let ended = match futures::poll!(&mut handler) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => Box::pin(timeout_at(deadline, &mut handler)).await.ok(),
        };
        let Some(ended) = ended else {
            // What the handler says about being stopped is worth keeping; its result is too late.
            context.cancellation().cancel();
            return match Box::pin(timeout(GRACE, &mut handler)).await {
                Ok(Ok(Err(error))) => Attempt::TimedOut(error.evidence),
                Ok(_) | Err(_) => Attempt::TimedOut(None),
            };
        };
        match ended {
            Ok(ended) => Attempt::Ended(ended),
            Err(panic) => Attempt::Panicked(panic_text(panic.as_ref())),
        }
    }
}

/// A handler's future, which may block its thread although it should not.
struct Blockable<'a> {
    future: HandlerFuture<'a>,
    gives_up_thread: bool,
}

impl Future for Blockable<'_> {
    type Output = Result<Value, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        if self.gives_up_thread {
            block_in_place(|| self.future.as_mut().poll(cx))
        } else {
            self.future.as_mut().poll(cx)
        }
    }
}

/// Names an attempt's ending, and says whether its sort is retried.
fn judge(stage: &Stage, attempt: Attempt) -> (Ending, bool) {
    match attempt {
        Attempt::Ended(Ok(output)) => (Ending::Succeeded(output), false),
        Attempt::Ended(Err(error)) => match error.kind {
            FailureKind::Parked => (Ending::Parked(error.message), false),
            FailureKind::Transient => {
                let failure = failure(FailureClass::Transient, error);
                (Ending::Failed(failure), stage.retry.on.transient)
            }
            FailureKind::Permanent => {
                let failure = failure(FailureClass::Permanent, error);
                (Ending::Failed(failure), false)
            }
            FailureKind::TimedOut => {
                let failure = failure(FailureClass::Timeout, error);
                (Ending::TimedOut(failure), stage.retry.on.timeout)
            }
        },
        Attempt::TimedOut(evidence) => {
            let failure = Failure {
                class: FailureClass::Timeout,
                error: format!("no result within {:?}", stage.timeout),
                evidence,
                retry_after: None,
            };
            (Ending::TimedOut(failure), stage.retry.on.timeout)
        }
        Attempt::Panicked(text) => {
            let error = format!(
                "the handler `{}` panicked, which is a defect of relvec: {text}",
                stage.handler.name
            );
            let failure = Failure {
                class: FailureClass::Panic,
                error,
                evidence: None,
                retry_after: None,
            };
            (Ending::Failed(failure), false)
        }
    }
}

fn failure(class: FailureClass, error: HandlerError) -> Failure {
    Failure {
        class,
        error: error.message,
        evidence: error.evidence,
        retry_after: error.retry_after,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    shown(text.unwrap_or("no message"))
}

/// Gives the delays between attempts. The jitter adds up to the delay itself, so half of the longest is the most before it.
fn delays_of(retry: Retry) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(retry.base.min(retry.max / 2))
        .with_max_delay(retry.max / 2)
        .with_max_times(retry.attempts.saturating_sub(1) as usize)
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::file::RetryOn;

    #[test]
    fn delays_grow_with_jitter_and_stay_below_the_longest() {
        let retry = Retry {
            attempts: 8,
            base: Duration::from_secs(1),
            max: Duration::from_secs(30),
            on: RetryOn {
                transient: true,
                timeout: true,
            },
        };
        let delays: Vec<_> = delays_of(retry).collect();
        assert_eq!(delays.len(), 7);
        let base = [1, 2, 4, 8, 15, 15, 15].map(Duration::from_secs);
        for (delay, base) in delays.iter().zip(base) {
            assert!((base..=base * 2).contains(delay), "{delay:?} for {base:?}");
        }
    }
}
