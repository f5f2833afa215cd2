//! One stage's attempts: timeout, retry, panic. Runs as a task of its own.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::context::{Context, RunEnvironment};
use super::diagnostic::shown;
use super::event::{Event, FailureClass, Question};
use super::handler::{FailureKind, HandlerError};
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

/// Everything that a stage's task owns.
pub(super) struct Work {
    pub plan: Arc<Plan>,
    pub stage: usize,
    pub outputs: Outputs,
    pub run: Arc<RunEnvironment>,
    pub stop: CancellationToken,
    pub questions: Arc<Mutex<Vec<Question>>>,
    pub events: UnboundedSender<Event>,
    /// How long the stage was ready before this task began.
    pub waited: Duration,
}

/// How one attempt ended.
enum Attempt {
    Ended(Result<Value, HandlerError>),
    TimedOut(Option<Value>),
    Panicked(String),
}

impl Work {
    /// Makes attempts until one succeeds, or fails for good.
    pub(super) async fn perform(self) -> Ending {
        let plan = Arc::clone(&self.plan);
        let stage = &plan.stages()[self.stage];
        let mut delays = delays(stage.retry);
        let mut number = 0;
        let mut waited = self.waited;
        loop {
            number += 1;
            self.emit(Event::StageStarted {
                stage: stage.id.to_string(),
                attempt: number,
                waited_seconds: waited.as_secs_f64(),
            });
            let (ending, retried) = judge(stage, self.attempt(stage, number).await);
            if self.stop.is_cancelled() && !matches!(ending, Ending::Succeeded(_)) {
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
            let delay = delays.next().filter(|_| retried);
            let Some(delay) = delay else {
                return ending;
            };
            let delay = delay.max(asked.unwrap_or_default().min(stage.retry.max));
            self.emit(Event::StageRetrying {
                stage: stage.id.to_string(),
                attempt: number,
                class,
                error,
                delay_seconds: delay.as_secs_f64(),
            });
            waited = delay;
            tokio::select! {
                () = sleep(delay) => {}
                () = self.stop.cancelled() => return Ending::Stopped,
            }
        }
    }

    async fn attempt(&self, stage: &Stage, number: u32) -> Attempt {
        let token = self.stop.child_token();
        let deadline = Instant::now() + stage.timeout;
        let context = Context::new(
            Arc::clone(&stage.id),
            number,
            Some(deadline),
            token.clone(),
            Arc::clone(&self.run),
            Arc::clone(&self.questions),
            self.events.clone(),
        );
        let handler = stage.built.run(&self.outputs, &context);
        let mut handler = AssertUnwindSafe(handler).catch_unwind();
        tokio::select! {
            biased;
            ended = &mut handler => match ended {
                Ok(ended) => Attempt::Ended(ended),
                Err(panic) => Attempt::Panicked(panic_text(panic.as_ref())),
            },
            () = sleep_until(deadline) => {
                // What the handler says about being stopped is worth keeping; its result is too late.
                token.cancel();
                match timeout(GRACE, &mut handler).await {
                    Ok(Ok(Err(error))) => Attempt::TimedOut(error.evidence),
                    Ok(_) | Err(_) => Attempt::TimedOut(None),
                }
            }
        }
    }

    fn emit(&self, event: Event) {
        // The receiver is gone only when the run is over, and then nobody reads events.
        let _ = self.events.send(event);
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
fn delays(retry: Retry) -> impl Iterator<Item = Duration> {
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
        let delays: Vec<_> = delays(retry).collect();
        assert_eq!(delays.len(), 7);
        let base = [1, 2, 4, 8, 15, 15, 15].map(Duration::from_secs);
        for (delay, base) in delays.iter().zip(base) {
            assert!((base..=base * 2).contains(delay), "{delay:?} for {base:?}");
        }
    }
}
