//! A job as a caller writes it becomes what is kept and what stays secret.
//!
//! 1. [`set`] overrides single values (`--set execution.mode=simulate`).
//! 2. [`prepare`] checks the job against its schema, then each reference, and takes every secret out.
//! 3. [`recover`] finds the secrets of a kept job again, where they were references.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{permission, schema_errors};
use crate::allowed::Allowed;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Secrets;
use crate::model::job::{
    EMBEDDED, EmbeddingProvider, ExecutionMode, JobInput, LlmProvider, LlmSpec, SourceSpec,
    TargetSpec, secret,
};
use crate::model::metadata::Dialect;
use crate::source::url::ConnectionUrl;

/// The environment as a job sees it: [`settings::variable`](crate::settings::variable), or a test's own.
pub type Variables = fn(&str) -> Option<String>;

/// The most bytes of a file that holds a secret.
const SECRET_FILE_BYTES: u64 = 64 * 1024;

/// A job that can be run.
#[derive(Debug, Clone)]
pub struct PreparedJob {
    /// What is kept and shown.
    pub input: JobInput,
    /// What is not.
    pub secrets: Secrets,
    /// Names of the secrets that stood in the job itself; a run that outlives its process cannot have them again.
    pub inline_secrets: Vec<String>,
    /// What the job said about the language model, before it was decided.
    llm_enabled: Option<bool>,
}

impl PreparedJob {
    /// Gives the job as it was asked, without secrets and with sorted keys: equal for equal requests.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut asked = self.input.clone();
        asked.llm.enabled = self.llm_enabled;
        sorted(serde_json::to_value(&asked).unwrap_or_default()).to_string()
    }
}

/// Checks a job, reads what it refers to, and takes its secrets out.
///
/// # Errors
/// The job does not fit its schema (the message names each place), a reference leads nowhere, a URL is not one, or source
/// and target are the same database.
pub fn prepare(job: &Value, variable: Variables) -> Result<PreparedJob> {
    prepare_within(job, variable, &Allowed::everything())
}

/// Checks a job as [`prepare`] does, and that everything in it is allowed, before anything is read that it refers to.
///
/// # Errors
/// As [`prepare`]; and the job names a host, a file, a variable or an execution that is not allowed.
pub fn prepare_within(job: &Value, variable: Variables, allowed: &Allowed) -> Result<PreparedJob> {
    schema_errors::check::<JobInput>(job, "job").map_err(|error| {
        if job.get("source").is_some() {
            return error;
        }
        error.hint("the least that a job says is {\"source\": {\"url\": \"sqlite:shop.db\"}}")
    })?;
    let mut input = JobInput::deserialize(job).map_err(|error| {
        Error::new(
            ErrorKind::Invalid,
            "the job does not have the expected shape",
        )
        .because(error)
    })?;
    check_references(&input)?;
    permission::check(&input, allowed)?;
    let mut inline_secrets = Vec::new();
    let source = take_password(
        &mut input.source.url,
        secret::SOURCE_URL,
        &mut inline_secrets,
    )?;
    let target = if input.target.is_embedded() {
        None
    } else {
        take_password(
            &mut input.target.url,
            secret::TARGET_URL,
            &mut inline_secrets,
        )?
    };
    for (place, url) in [
        ("embedding.base_url", &input.embedding.base_url),
        ("llm.base_url", &input.llm.base_url),
    ] {
        url.as_deref()
            .map_or(Ok(()), |url| check_base_url(place, url))?;
    }
    let mut secrets = Secrets::default();
    if let Some(url) = source {
        secrets.insert(secret::SOURCE_URL, url);
    }
    if let Some(url) = target {
        secrets.insert(secret::TARGET_URL, url);
    }
    find_references(&input, variable, &mut secrets)?;
    check_urls(&secrets)?;
    permission::check_databases(&secrets, allowed)?;
    let has_key = secrets.get(secret::LLM_API_KEY).is_some();
    let llm = &input.llm;
    let needs_none =
        llm.provider == LlmProvider::Openai && llm.base_url.is_some() && llm.api_key_env.is_none();
    let wanted = llm.model.is_some() && (has_key || needs_none);
    let llm_enabled = input.llm.enabled;
    input.llm.enabled = Some(llm_enabled.unwrap_or(wanted));
    Ok(PreparedJob {
        input,
        secrets,
        inline_secrets,
        llm_enabled,
    })
}

/// Finds the secrets of a kept job again.
///
/// What cannot be found is withheld with its reason: a stage that needs it fails, a gate that needs nothing goes on.
#[must_use]
pub fn recover(input: &JobInput, inline_secrets: &[String], variable: Variables) -> Secrets {
    let mut secrets = Secrets::default();
    let target = input.target.url.as_ref().filter(|url| *url != EMBEDDED);
    for (place, name, url) in [
        ("source", secret::SOURCE_URL, input.source.url.as_ref()),
        ("target", secret::TARGET_URL, target),
    ] {
        if inline_secrets.iter().any(|inline| inline == name) {
            secrets.withhold(
                name,
                format!(
                    "the password in `{place}.url` was kept in memory only, and is gone with the process that held it\n  \
                     next: submit the job again, with `{place}.url_env` or `{place}.url_file`: such a run survives a restart"
                ),
            );
        } else if let Some(url) = url {
            secrets.insert(name, url.clone().into());
        }
    }
    let found = find_references(input, variable, &mut secrets).and_then(|()| check_urls(&secrets));
    if let Err(error) = found {
        for name in [
            secret::SOURCE_URL,
            secret::TARGET_URL,
            secret::EMBEDDING_API_KEY,
            secret::LLM_API_KEY,
        ] {
            secrets.withhold(name, error.to_string());
        }
    }
    secrets
}

/// Overrides one value of a job: `path.to.key=value`, the value as JSON or else as text.
///
/// # Errors
/// There is no `=`, or the path leads through something that is not an object.
pub fn set(job: &mut Value, assignment: &str) -> Result<()> {
    let usage = |message: String| {
        Error::new(ErrorKind::Usage, message).hint("write it as --set execution.mode=simulate")
    };
    let (path, text) = assignment
        .split_once('=')
        .filter(|(path, _)| !path.is_empty() && path.split('.').all(|key| !key.is_empty()))
        .ok_or_else(|| usage("an override has the form path=value".to_owned()))?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let mut place = job;
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = place
            .as_object_mut()
            .ok_or_else(|| usage(format!("`{path}` leads through a value that is no object")))?
            .entry(key)
            .or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

fn check_references(input: &JobInput) -> Result<()> {
    let SourceSpec {
        url,
        url_env,
        url_file,
        ..
    } = &input.source;
    let given = [url, url_env, url_file];
    let count = given.iter().filter(|one| one.is_some()).count();
    if count != 1 {
        let found = if count == 0 {
            "none of them"
        } else {
            "more than one"
        };
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("source: exactly one of `url`, `url_env` and `url_file` is needed, and the job has {found}"),
        )
        .hint("for instance \"source\": {\"url\": \"sqlite:shop.db\"}"));
    }
    let TargetSpec {
        url,
        url_env,
        url_file,
        ..
    } = &input.target;
    if [url, url_env, url_file]
        .iter()
        .filter(|one| one.is_some())
        .count()
        > 1
    {
        return Err(Error::new(
            ErrorKind::Invalid,
            "target: at most one of `url`, `url_env` and `url_file` can be given",
        )
        .hint("leave all three out for the embedded target"));
    }
    let embedding = &input.embedding;
    if embedding.api_key_env.is_some() && embedding.api_key_file.is_some() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "embedding: at most one of `api_key_env` and `api_key_file` can be given",
        ));
    }
    Ok(())
}

/// Moves a whole URL out of the job and leaves one without a password.
fn take_password(
    kept: &mut Option<String>,
    name: &str,
    inline_secrets: &mut Vec<String>,
) -> Result<Option<SecretString>> {
    let Some(text) = kept.take() else {
        return Ok(None);
    };
    let url = ConnectionUrl::parse(&text)?;
    if url.password().is_some() {
        inline_secrets.push(name.to_owned());
    }
    *kept = Some(url.without_password());
    Ok(Some(text.into()))
}

fn find_references(input: &JobInput, variable: Variables, secrets: &mut Secrets) -> Result<()> {
    let source = &input.source;
    let target = &input.target;
    for (place, name, env, file) in [
        (
            "source",
            secret::SOURCE_URL,
            &source.url_env,
            &source.url_file,
        ),
        (
            "target",
            secret::TARGET_URL,
            &target.url_env,
            &target.url_file,
        ),
    ] {
        if let Some(env) = env {
            let url = named_variable(&format!("{place}.url_env"), env, variable)?;
            secrets.insert(name, url);
        } else if let Some(file) = file {
            secrets.insert(name, named_file(&format!("{place}.url_file"), file)?);
        }
    }
    if let Some(key) = embedding_key(input, variable)? {
        secrets.insert(secret::EMBEDDING_API_KEY, key);
    }
    if let Some(key) = llm_key(&input.llm, variable) {
        secrets.insert(secret::LLM_API_KEY, key);
    }
    Ok(())
}

fn embedding_key(input: &JobInput, variable: Variables) -> Result<Option<SecretString>> {
    let embedding = &input.embedding;
    if let Some(file) = &embedding.api_key_file {
        return named_file("embedding.api_key_file", file).map(Some);
    }
    if let Some(name) = &embedding.api_key_env {
        return named_variable("embedding.api_key_env", name, variable).map(Some);
    }
    // A key goes to its own provider only: with another address, the job has to name the key.
    let usual = match embedding.provider {
        EmbeddingProvider::Openai if embedding.base_url.is_none() => "OPENAI_API_KEY",
        EmbeddingProvider::Gemini if embedding.base_url.is_none() => "GOOGLE_API_KEY",
        EmbeddingProvider::Openai
        | EmbeddingProvider::Gemini
        | EmbeddingProvider::Relvec
        | EmbeddingProvider::Local => return Ok(None),
    };
    let key = variable(usual);
    if key.is_none() && input.execution.mode != ExecutionMode::Simulate {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("embedding: the provider wants a key, and the environment variable {usual} is not set"),
        )
        .hint(format!(
            "set {usual}, or name another variable in `embedding.api_key_env`"
        )));
    }
    Ok(key.map(SecretString::from))
}

/// Gives the language model's key, if there is one: without it the stage says so, and the deterministic plan stands.
fn llm_key(llm: &LlmSpec, variable: Variables) -> Option<SecretString> {
    if llm.enabled == Some(false) {
        return None;
    }
    let name = match (&llm.api_key_env, llm.provider) {
        (Some(name), _) => name.as_str(),
        // As with embeddings: to another address goes only a key that the job names.
        (None, _) if llm.base_url.is_some() => return None,
        (None, LlmProvider::Gemini) => "GOOGLE_API_KEY",
        (None, LlmProvider::Openai) => "OPENAI_API_KEY",
    };
    variable(name).map(SecretString::from)
}

fn named_variable(place: &str, name: &str, variable: Variables) -> Result<SecretString> {
    variable(name).map(SecretString::from).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("{place} names the environment variable `{name}`, which is not set"),
        )
        .hint("set it where relvec runs, then try again")
    })
}

fn named_file(place: &str, name: &str) -> Result<SecretString> {
    let refused = |what: &str| {
        Error::new(
            ErrorKind::Invalid,
            format!("{place} names the file `{name}`, {what}"),
        )
        .hint("name a text file that relvec may read, with the secret and nothing else in it")
    };
    let path = Path::new(name);
    let metadata =
        std::fs::metadata(path).map_err(|error| refused("which cannot be read").because(error))?;
    if !metadata.is_file() || metadata.len() > SECRET_FILE_BYTES {
        return Err(refused("which is not a small text file"));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused("which cannot be read").because(error))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refused("which is empty"));
    }
    Ok(text.into())
}

/// Checks URLs wherever they came from, and that the two are not the same database.
fn check_urls(secrets: &Secrets) -> Result<()> {
    let parse = |name: &str| {
        secrets
            .get(name)
            .map(|url| ConnectionUrl::parse(url.expose_secret()))
            .transpose()
    };
    let source = parse(secret::SOURCE_URL)?;
    let target = parse(secret::TARGET_URL)?;
    if let Some(target) = &target
        && target.dialect() != Dialect::Postgres
    {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("target: {target} is not a PostgreSQL database"),
        )
        .hint("give a postgres:// URL of a database with pgvector, or leave it out for the embedded target"));
    }
    match (source, target) {
        (Some(source), Some(target)) if place_of(&source) == place_of(&target) => Err(Error::new(
            ErrorKind::Invalid,
            format!("source and target are the same database: {target}"),
        )
        .hint("give the target a database of its own; it can be on the same server")),
        (_, _) => Ok(()),
    }
}

/// Server and database, without what does not tell databases apart; none for a file.
fn place_of(url: &ConnectionUrl) -> Option<String> {
    let server = url.server()?.to_lowercase();
    let server = match server.rsplit_once(':') {
        Some(("127.0.0.1" | "[::1]" | "::1", port)) => format!("localhost:{port}"),
        Some(_) | None => server,
    };
    Some(format!("{server}/{}", url.database()))
}

fn check_base_url(place: &str, text: &str) -> Result<()> {
    let refused = |what: &str| {
        Error::new(ErrorKind::Invalid, format!("{place} {what}"))
            .hint("write it as https://host/path, and the key in an environment variable")
    };
    let url = url::Url::parse(text).map_err(|error| refused("is not a URL").because(error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("does not begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("holds a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("has a `?` or `#`, where a key could hide"));
    }
    Ok(())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
