//! What of a job the gateway's operator has to allow: the variables, files, hosts, images and networks that it names.

use std::path::Path;

use secrecy::ExposeSecret as _;
use url::Url;

use crate::allowed::{Allowed, Role};
use crate::error::Result;
use crate::graph::context::Secrets;
use crate::model::job::{JobInput, secret};
use crate::service::http;
use crate::source::ConnectionUrl;

/// Checks what a job names, before any of it is read.
pub(super) fn check(input: &JobInput, allowed: &Allowed) -> Result<()> {
    let (source, target, embedding) = (&input.source, &input.target, &input.embedding);
    for (place, name) in [
        ("source.url_env", &source.url_env),
        ("target.url_env", &target.url_env),
        ("embedding.api_key_env", &embedding.api_key_env),
        ("llm.api_key_env", &input.llm.api_key_env),
    ] {
        if let Some(name) = name {
            allowed.variable(place, name)?;
        }
    }
    let files = [&source.url_file, &target.url_file, &embedding.api_key_file];
    for file in files.into_iter().flatten() {
        allowed.file(Path::new(file))?;
    }
    for (role, url) in [
        (Role::Embedding, &embedding.base_url),
        (Role::Llm, &input.llm.base_url),
    ] {
        if let Some(url) = url.as_deref().and_then(|url| Url::parse(url).ok()) {
            http::check(&url, role, allowed)?;
        }
    }
    if target.is_embedded() {
        allowed.check_embedded()?;
    }
    let execution = &input.execution;
    allowed.container(
        execution.base_image.as_deref(),
        [
            execution.network.as_deref(),
            execution.build_network.as_deref(),
        ],
    )
}

/// Checks the databases, wherever their URLs came from.
pub(super) fn check_databases(secrets: &Secrets, allowed: &Allowed) -> Result<()> {
    for (name, role) in [
        (secret::SOURCE_URL, Role::Source),
        (secret::TARGET_URL, Role::Target),
    ] {
        if let Some(url) = secrets.get(name) {
            ConnectionUrl::parse(url.expose_secret())?
                .within(role, allowed)
                .check_allowed()?;
        }
    }
    Ok(())
}
