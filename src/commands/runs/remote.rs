//! The runs of a gateway, over HTTP. What makes a run go on asks the gateway to, and watches.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::place::{Choice, Events, Lines, NOBODY_SAYS, Place, Refused};
use crate::cli::{LogsArgs, RetryArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diff::GraphDiff;
use crate::graph::event::{Artifact, Event, RunStatus};
use crate::graph::explain::Explanation;
use crate::http::jobs::RunPage;
use crate::http::logs::LogPage;
use crate::model::run::{LogLine, RunDocument, RunSummary};
use crate::report::terminal;
use crate::service::{http, sse};
use crate::settings;

/// The longest time that an answer may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// The longest silence of a stream, which gives a sign of life every quarter of a minute.
const SILENCE: Duration = Duration::from_mins(1);

/// How long before a stream that was cut off is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often that is tried in a row.
const MOST_TRIES: u32 = 60;

/// The most runs of a page.
const PAGE: u32 = 200;

/// The most lines of a page of a log.
const MOST_LINES: u32 = 5_000;

/// A gateway.
#[derive(Debug)]
pub struct Remote {
    address: String,
    client: Client,
    token: Option<SecretString>,
}

/// What a gateway says of what went wrong.
#[derive(Debug, Default, Deserialize)]
struct Told {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hints: Vec<String>,
    #[serde(default)]
    diff: Option<Box<GraphDiff>>,
}

/// An error with what differs between two graphs, if that is why.
#[derive(Debug)]
struct Failed {
    error: Error,
    diff: Option<Box<GraphDiff>>,
}

impl Failed {
    fn without_diff(self) -> Error {
        self.error
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, diff: None }
    }
}

impl Remote {
    /// Takes a gateway by its URL, with the access token of the environment.
    ///
    /// # Errors
    /// The URL is not one of a gateway.
    pub fn new(server: &Url) -> Result<Self> {
        let is_plain = matches!(server.scheme(), "http" | "https")
            && server.has_host()
            && server.username().is_empty()
            && server.password().is_none()
            && server.query().is_none()
            && server.fragment().is_none();
        if !is_plain {
            return Err(
                Error::new(ErrorKind::Usage, "--server is not the URL of a gateway")
                    .hint("write it as http://127.0.0.1:7070, and the token in RELVEC_TOKEN"),
            );
        }
        Ok(Self {
            address: server.as_str().trim_end_matches('/').to_owned(),
            client: http::client(PATIENCE, http::is_local(server))?,
            token: settings::variable("RELVEC_TOKEN").map(SecretString::from),
        })
    }

    /// Submits a job and sees its run through.
    ///
    /// # Errors
    /// The gateway refuses the job, or does not answer.
    pub async fn run(&self, graph: &str, input: &Value) -> Result<RunDocument> {
        let body = json!({"graph": graph, "input": input});
        // So that the job is not run twice where the answer is lost and the request is sent again by hand or by a proxy.
        let key = format!("\"{}\"", Uuid::new_v4());
        let request = self.request(Method::POST, "/jobs").json(&body);
        let request = request.header("Idempotency-Key", key);
        let document: RunDocument = self.plain(request).await?;
        let run = document.run_id;
        eprintln!(
            "run {run} at {}; it goes on if this command ends",
            self.address
        );
        self.see_through(run, 0).await
    }

    /// Says what a run of a graph with a job would do.
    ///
    /// # Errors
    /// The gateway refuses the job, or does not answer.
    pub async fn plan<T: DeserializeOwned>(&self, graph: &str, input: &Value) -> Result<T> {
        let request = self.request(Method::POST, &path(&["graphs", graph, "plan"]));
        self.plain(request.json(input)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.address));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let response = request.send().await.map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("the gateway at {} does not answer", self.address),
            )
            .because(error.without_url())
            .hint("see that it runs there: relvec serve")
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let told: Told = response.json().await.unwrap_or_default();
        Err(refused(status, told))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failed> {
        let response = self.send(request).await?;
        let read = response.json().await;
        let read = read.map_err(|error| {
            Error::new(
                ErrorKind::Failed,
                format!("the gateway at {} answers in an unknown form", self.address),
            )
            .because(error.without_url())
            .hint("use the same version of relvec here and there")
        })?;
        Ok(read)
    }

    async fn plain<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.json(request).await.map_err(Failed::without_diff)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.plain(self.request(Method::GET, path)).await
    }

    /// Gives the events of a stream behind a number, and asks again with the last number where the stream is cut off. A stream that
    /// does not follow ends once; one that follows ends when there is nothing to come back for.
    async fn stream(&self, path: &str, after: i64, follow: bool, to: Events<'_>) -> Result<()> {
        let mut last = after;
        let mut tries = 0;
        loop {
            let request = self
                .request(Method::GET, path)
                .header("Last-Event-ID", last)
                // A stream has no end to wait for: silence is what ends it.
                .timeout(Duration::from_hours(24 * 365));
            let cut = match self.send(request).await {
                Ok(response) if response.status() == StatusCode::NO_CONTENT => return Ok(()),
                Ok(response) => match take(response, &mut last, &mut tries, &mut *to).await? {
                    Taken::Enough => return Ok(()),
                    Taken::Ended if !follow => return Ok(()),
                    Taken::Ended => None,
                    Taken::Cut(error) => Some(error),
                },
                Err(failed) if failed.error.kind() == ErrorKind::Unavailable => Some(failed.error),
                Err(failed) => return Err(failed.error),
            };
            tries += 1;
            if let Some(error) = cut
                && tries > MOST_TRIES
            {
                return Err(error);
            }
            if tries > 1 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Shows a run's progress from the event behind a number, until it ends or parks.
    async fn see_through(&self, run: Uuid, after: i64) -> Result<RunDocument> {
        let mut report = terminal::on_standard_error();
        let mut show = |_: i64, text: &str| {
            // An event that only a newer relvec knows is not shown.
            let Ok(event) = serde_json::from_str::<Event>(text) else {
                return Ok(ControlFlow::Continue(()));
            };
            report.event(&event);
            let is_over = matches!(event, Event::RunFinished { .. });
            Ok(if is_over {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        };
        self.events(run, after, true, &mut show).await?;
        self.document(run).await
    }

    /// Gives the number of a run's last event.
    async fn last_event(&self, run: Uuid) -> Result<i64> {
        let mut last = 0;
        let mut count = |seq: i64, _: &str| {
            last = seq;
            Ok(ControlFlow::Continue(()))
        };
        self.events(run, 0, false, &mut count).await?;
        Ok(last)
    }
}

/// Gives a path of these segments: whatever a name is, it stays one segment.
fn path(segments: &[&str]) -> String {
    let encoded = segments.iter().map(|segment| {
        let bytes = segment.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        });
        format!("/{}", bytes.collect::<String>())
    });
    encoded.collect()
}

/// How a stream was left.
enum Taken {
    /// Who takes the events has enough.
    Enough,
    /// It ended in order.
    Ended,
    /// The connection broke.
    Cut(Error),
}

/// Takes the events of one answer; `last` is the number of the last whole one. Where one came, tries are counted anew.
async fn take(
    mut response: Response,
    last: &mut i64,
    tries: &mut u32,
    to: Events<'_>,
) -> Result<Taken> {
    let mut parser = sse::Parser::default();
    let cut = |cause: String| {
        let error = Error::new(ErrorKind::Unavailable, "the stream of events was cut off");
        Taken::Cut(error.because(cause))
    };
    loop {
        let piece = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(Taken::Ended),
            Ok(Err(error)) => return Ok(cut(error.without_url().to_string())),
            Err(_) => return Ok(cut("no sign of life".to_owned())),
        };
        for sent in parser.push(&piece) {
            let Ok(seq) = sent.id.parse() else { continue };
            *tries = 0;
            *last = seq;
            if to(seq, &sent.data)?.is_break() {
                return Ok(Taken::Enough);
            }
        }
    }
}

fn refused(status: StatusCode, told: Told) -> Failed {
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Configuration,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        408 | 429 | 502..=504 => ErrorKind::Unavailable,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Failed,
    };
    let detail = if told.detail.is_empty() {
        format!("the gateway answers {status}")
    } else {
        told.detail
    };
    let mut error = Error::new(kind, detail);
    for hint in told.hints {
        error = error.hint(hint);
    }
    if matches!(status.as_u16(), 401 | 403) {
        error = error.hint("set RELVEC_TOKEN to a token of the gateway: relvec token create");
    }
    let diff = told.diff;
    Failed { error, diff }
}

impl Place for Remote {
    async fn settle(&self, _: Option<Uuid>) -> Result<()> {
        // A gateway watches the time itself.
        Ok(())
    }

    async fn list(&self, limit: u32) -> Result<Vec<RunSummary>> {
        let mut runs: Vec<RunSummary> = Vec::new();
        let mut cursor = String::new();
        loop {
            let left = limit.saturating_sub(u32::try_from(runs.len()).unwrap_or(u32::MAX));
            if left == 0 {
                return Ok(runs);
            }
            let page: RunPage = self
                .get(&format!("/jobs?limit={}{cursor}", left.min(PAGE)))
                .await?;
            runs.extend(page.runs);
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(runs),
            }
        }
    }

    async fn document(&self, run: Uuid) -> Result<RunDocument> {
        self.get(&format!("/jobs/{run}")).await
    }

    async fn is_interrupted(&self, _: Uuid, _: RunStatus) -> Result<bool> {
        // A gateway goes on with its runs when it starts: there is nothing that a person has to do.
        Ok(false)
    }

    fn files(&self, run: Uuid) -> PathBuf {
        PathBuf::from(format!("{}/artifacts/{run}", self.address))
    }

    async fn events(&self, run: Uuid, after: i64, follow: bool, to: Events<'_>) -> Result<()> {
        let path = format!("/jobs/{run}/events?follow={follow}");
        self.stream(&path, after, follow, to).await
    }

    async fn logs(&self, asked: &LogsArgs, to: Lines<'_>) -> Result<()> {
        let run = asked.run;
        let stage = match &asked.stage {
            Some(stage) => {
                // A stage that wrote nothing is not a stage that is not there.
                self.explain(run, stage).await?;
                format!("&stage={stage}")
            }
            None => String::new(),
        };
        let mut after = 0;
        if let Some(tail) = asked.tail {
            let page: LogPage = self
                .get(&format!("/jobs/{run}/logs?tail={tail}{stage}"))
                .await?;
            after = page.lines.last().map_or(0, |line| line.seq);
            page.lines.into_iter().try_for_each(&mut *to)?;
        } else if !asked.follow {
            loop {
                let path = format!("/jobs/{run}/logs?after={after}&limit={MOST_LINES}{stage}");
                let page: LogPage = self.get(&path).await?;
                page.lines.into_iter().try_for_each(&mut *to)?;
                match page.next {
                    Some(next) => after = next,
                    None => return Ok(()),
                }
            }
        }
        if !asked.follow {
            return Ok(());
        }
        let mut each = |_: i64, text: &str| {
            let line: LogLine = serde_json::from_str(text).map_err(|error| {
                Error::new(ErrorKind::Failed, "a line of the log has an unknown form")
                    .because(error)
                    .hint("use the same version of relvec here and there")
            })?;
            to(line)?;
            Ok(ControlFlow::Continue(()))
        };
        let path = format!("/jobs/{run}/logs?follow=true{stage}");
        self.stream(&path, after, true, &mut each).await
    }

    async fn explain(&self, run: Uuid, stage: &str) -> Result<Explanation> {
        self.get(&path(&["jobs", &run.to_string(), "stages", stage]))
            .await
    }

    async fn read(&self, run: Uuid, file: &Artifact) -> Result<Vec<u8>> {
        let path = path(&["artifacts", &run.to_string(), &file.name]);
        let request = self.request(Method::GET, &path);
        let response = self.send(request).await.map_err(Failed::without_diff)?;
        let bytes = response.bytes().await.map_err(|error| {
            let message = format!("the file `{}` was cut off", file.name);
            Error::new(ErrorKind::Unavailable, message).because(error.without_url())
        })?;
        if crate::store::sha256(&bytes) != file.sha256 {
            let message = format!("the file `{}` is not the one that the run wrote", file.name);
            return Err(Error::new(ErrorKind::Failed, message).hint("try again"));
        }
        Ok(bytes.to_vec())
    }

    async fn cancel(&self, run: Uuid) -> Result<RunDocument> {
        let request = self.request(Method::POST, &format!("/jobs/{run}/cancel"));
        self.plain(request).await
    }

    async fn retry(&self, asked: &RetryArgs) -> Result<RunDocument, Refused> {
        let run = asked.run;
        let body =
            json!({"from": asked.from, "only": asked.only, "accept_drift": asked.accept_drift});
        let request = self.request(Method::POST, &format!("/jobs/{run}/retry"));
        let retried: Result<RunDocument, Failed> = self.json(request.json(&body)).await;
        let new = match retried {
            Ok(document) => document.run_id,
            Err(Failed {
                error,
                diff: Some(diff),
            }) => return Err(Refused::Drift(error, diff)),
            Err(failed) => return Err(failed.error.into()),
        };
        eprintln!("run {new} is a retry of run {run}");
        Ok(self.see_through(new, 0).await?)
    }

    async fn validate(&self, run: Uuid, job: Option<Value>) -> Result<RunDocument> {
        let request = self.request(Method::POST, &format!("/jobs/{run}/validate"));
        let document: RunDocument = self.plain(request.json(&json!({"input": job}))).await?;
        let new = document.run_id;
        eprintln!("run {new} validates run {run}");
        self.see_through(new, 0).await
    }

    async fn answer(&self, run: Uuid, choice: Choice<'_>) -> Result<RunDocument> {
        let last = self.last_event(run).await?;
        // A token has a name of its own.
        let nobody = self.token.is_none().then_some(NOBODY_SAYS);
        let by = choice.by.or(nobody);
        let body = json!({"question": choice.question, "choice": choice.chosen, "by": by});
        let request = self.request(Method::POST, &format!("/jobs/{run}/answers"));
        let document: RunDocument = self.plain(request.json(&body)).await?;
        match document.status {
            // Other questions are open, or the run was over before.
            RunStatus::Waiting
            | RunStatus::Succeeded
            | RunStatus::Failed
            | RunStatus::Cancelled => Ok(document),
            RunStatus::Queued | RunStatus::Running => self.see_through(run, last).await,
        }
    }
}
