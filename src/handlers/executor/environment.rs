//! What the script has to know and nobody else may: the databases' URLs and the API's key.

use std::net::{IpAddr, Ipv4Addr};

use secrecy::SecretString;

use super::addresses::Addresses;
use super::script::SOURCE_URL;
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::model::generated::GeneratedCode;
use crate::model::job::{EmbeddingProvider, JobInput, secret};
use crate::service::endpoint::Endpoint;
use crate::service::redact::Redactor;
use crate::service::target;
use crate::source::Place;

/// The variable of the embedding API's address.
pub(super) const EMBEDDING_BASE_URL: &str = "EMBEDDING_BASE_URL";

/// The script's environment, and what keeps it out of text.
pub(super) struct Environment {
    pub variables: Vec<(String, SecretString)>,
    pub redactor: Redactor,
    /// The addresses of the hosts in the URLs, where a gateway's rules hold.
    pub addresses: Addresses,
    // Stops when this is dropped, so it has to live as long as the script.
    endpoint: Option<Endpoint>,
}

impl Environment {
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        Self {
            variables: Vec::new(),
            redactor: Redactor::default(),
            addresses: Addresses::default(),
            endpoint: None,
        }
    }

    /// Gives what a dry run needs: the source.
    pub(super) async fn of_source(ctx: &Context) -> Result<Self, HandlerError> {
        let source = ctx.need_secret(secret::SOURCE_URL)?;
        Ok(Self {
            variables: vec![
                (SOURCE_URL.to_owned(), source.clone()),
                // What libpq would read besides the URL.
                ("PGPASSFILE".to_owned(), "/dev/null".into()),
                ("PGSSLCERT".to_owned(), "/dev/null/none".into()),
            ],
            redactor: Redactor::default().hide(source),
            addresses: Addresses::of_source(ctx).await?,
            endpoint: None,
        })
    }

    /// Gives what a migration needs. Refuses a plan that the source does not bear any more, and a target that cannot be used.
    pub(super) async fn of_migration(
        job: &JobInput,
        code: &GeneratedCode,
        ctx: &Context,
    ) -> Result<Self, HandlerError> {
        let mut environment = Self::of_source(ctx).await?;
        let source = Place::within(ctx.need_secret(secret::SOURCE_URL)?, ctx.allowed());
        let driver = crate::source::open(source)?;
        crate::source::fan_out::refuse(driver.as_ref(), &code.plan).await?;
        target::check(target::place(job, ctx).await?).await?;
        let target = target::resolve(job, ctx).await?;
        environment.add("TARGET_URL", target);
        environment
            .addresses
            .add_targets(job, &code.embedding, ctx)
            .await?;
        if let Some(key) = ctx.secret(secret::EMBEDDING_API_KEY) {
            let name = code.embedding.api_key_env.as_deref();
            environment.add(name.unwrap_or("EMBEDDING_API_KEY"), key.clone());
        }
        Ok(environment)
    }

    /// Puts the addresses into the variables of a script that looks names up on this machine.
    pub(super) fn pin(&mut self) {
        for (_, url) in &mut self.variables {
            if let Some(pinned) = self.addresses.with_address(url) {
                *url = pinned;
            }
        }
        self.variables.extend(self.addresses.variables());
    }

    /// Adds a variable and hides its value.
    pub(super) fn add(&mut self, name: &str, value: SecretString) {
        self.redactor = std::mem::take(&mut self.redactor).hide(&value);
        self.variables.push((name.to_owned(), value));
    }

    /// Gives a variable another value.
    pub(super) fn replace(&mut self, name: &str, value: SecretString) {
        self.variables.retain(|(known, _)| known != name);
        if name == EMBEDDING_BASE_URL {
            // An address helps whoever reads an error; the key is a variable of its own.
            self.variables.push((name.to_owned(), value));
        } else {
            self.add(name, value);
        }
    }

    /// Starts relvec's own embedding endpoint where the job uses it.
    pub(super) async fn start_endpoint(
        &mut self,
        address: IpAddr,
        ctx: &Context,
    ) -> Result<(), HandlerError> {
        let started = Endpoint::start_at(address).await?;
        ctx.log(
            LogLevel::Info,
            format!(
                "relvec's embedding endpoint listens on {}",
                started.base_url
            ),
        );
        let url = SecretString::from(started.base_url.as_str());
        self.variables.push((EMBEDDING_BASE_URL.to_owned(), url));
        self.endpoint = Some(started);
        Ok(())
    }
}

/// The address where everything of this machine reaches the endpoint and nothing else does.
pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Says whether relvec has to start its own endpoint: the job uses it and does not say that it runs somewhere.
pub(super) fn uses_own_endpoint(job: &JobInput) -> bool {
    job.embedding.provider == EmbeddingProvider::Relvec && job.embedding.base_url.is_none()
}
