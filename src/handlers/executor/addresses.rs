//! The addresses that a script has to use where a gateway's rules hold: a name that was checked could stand for another address by
//! the time that the script looks it up.
//!
//! A container gets them as entries of its `/etc/hosts`. A process gets them for Python's look-ups by `pinned.py`, and in the URLs
//! of PostgreSQL as `hostaddr`, because libpq looks names up itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::allowed::Role;
use crate::graph::context::Context;
use crate::graph::handler::HandlerError;
use crate::model::job::{EmbeddingProvider, JobInput, secret};
use crate::model::plan::EmbeddingPlan;
use crate::source::Place;

/// Replaces Python's look-up of the names that it is given, then becomes the script.
pub(super) const PINNED: &str = include_str!("pinned.py");

/// Where `pinned.py` finds the names and their addresses.
const VARIABLE: &str = "RELVEC_ADDRESSES";

/// Names and the one address of each.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<String, IpAddr>);

impl Addresses {
    /// Looks up what a dry run connects to: the source.
    pub(super) async fn of_source(ctx: &Context) -> Result<Self, HandlerError> {
        let mut found = Self::default();
        found
            .database(secret::SOURCE_URL, Role::Source, ctx)
            .await?;
        Ok(found)
    }

    /// Looks up what a migration connects to besides the source.
    pub(super) async fn add_targets(
        &mut self,
        job: &JobInput,
        plan: &EmbeddingPlan,
        ctx: &Context,
    ) -> Result<(), HandlerError> {
        if !job.target.is_embedded() {
            self.database(secret::TARGET_URL, Role::Target, ctx).await?;
        }
        let is_own = super::environment::uses_own_endpoint(job);
        if is_own || plan.provider == EmbeddingProvider::Local {
            return Ok(());
        }
        let Ok(url) = Url::parse(&plan.base_url) else {
            return Ok(());
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        let addresses = ctx.allowed().addresses(Role::Embedding, host, port).await?;
        self.add(
            host,
            addresses.and_then(|all| all.first().map(std::net::SocketAddr::ip)),
        );
        Ok(())
    }

    async fn database(
        &mut self,
        name: &str,
        role: Role,
        ctx: &Context,
    ) -> Result<(), HandlerError> {
        let Some(url) = ctx.secret(name) else {
            return Ok(());
        };
        let url = Place::within(url, ctx.allowed()).read(role)?;
        let addresses = url.addresses().await?;
        let first = addresses.and_then(|all| all.first().map(std::net::SocketAddr::ip));
        self.add(url.host().unwrap_or_default(), first);
        Ok(())
    }

    /// Adds a name; what is an address already needs none.
    fn add(&mut self, host: &str, address: Option<IpAddr>) {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Some(address) = address
            && bare.parse::<IpAddr>().is_err()
        {
            self.0.insert(bare.to_ascii_lowercase(), address);
        }
    }

    /// Says whether there is no name to pin.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives them as a container's `/etc/hosts` takes them.
    pub(super) fn of_container(&self) -> Vec<String> {
        let entries = self.0.iter();
        entries
            .map(|(name, address)| format!("{name}:{address}"))
            .collect()
    }

    /// Gives the variables that a process needs beside its URLs: the names, and no proxy, which would look them up itself.
    pub(super) fn variables(&self) -> Vec<(String, SecretString)> {
        if self.is_empty() {
            return Vec::new();
        }
        let addresses = serde_json::to_string(&self.0).unwrap_or_default();
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        let proxies = proxies.map(|name| (name.to_owned(), SecretString::from("")));
        let mut variables = vec![(VARIABLE.to_owned(), addresses.into())];
        variables.extend(proxies);
        variables
    }

    /// Gives a URL of PostgreSQL with the address of its host; any other as it is.
    pub(super) fn with_address(&self, text: &SecretString) -> Option<SecretString> {
        let mut url = Url::parse(text.expose_secret()).ok()?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return None;
        }
        let address = self.0.get(&url.host_str()?.to_ascii_lowercase())?;
        url.query_pairs_mut()
            .append_pair("hostaddr", &address.to_string());
        Some(String::from(url).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_addresses_and_addresses_stay() {
        let mut addresses = Addresses::default();
        addresses.add("DB.example", Some("192.0.2.7".parse().unwrap()));
        addresses.add("v6.example", Some("2001:db8::7".parse().unwrap()));
        addresses.add("192.0.2.9", Some("192.0.2.9".parse().unwrap()));
        addresses.add("unbound.example", None);
        assert_eq!(
            addresses.of_container(),
            ["db.example:192.0.2.7", "v6.example:2001:db8::7"]
        );
        let given = |url: &str| {
            let url = addresses.with_address(&url.into())?;
            Some(url.expose_secret().to_owned())
        };
        assert_eq!(
            given("postgres://u:p%40ss@db.example:5432/shop?sslmode=verify-full").as_deref(),
            Some("postgres://u:p%40ss@db.example:5432/shop?sslmode=verify-full&hostaddr=192.0.2.7")
        );
        assert_eq!(
            given("postgres://u@v6.example/shop").as_deref(),
            Some("postgres://u@v6.example/shop?hostaddr=2001%3Adb8%3A%3A7")
        );
        for url in [
            "mysql://u@db.example/shop",
            "postgres://u@192.0.2.9/shop",
            "sqlite:a.db",
        ] {
            assert_eq!(given(url), None, "{url}");
        }
        let names = addresses.variables();
        assert_eq!(names[0].0, "RELVEC_ADDRESSES");
        assert!(Addresses::default().variables().is_empty());
    }
}
