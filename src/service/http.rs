//! The HTTP client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::allowed::{Allowed, Role};
use crate::error::{Error, ErrorKind, Result};

/// Gives a client that follows no redirect, so that a key is only ever sent where the job says.
///
/// Where `local` is set, the environment's proxies are left out: they are for other machines.
///
/// # Errors
/// The system's TLS cannot be set up.
pub fn client(timeout: Duration, local: bool) -> Result<Client> {
    let mut client = builder(timeout);
    if local {
        client = client.no_proxy();
    }
    made(client)
}

/// Gives a client for one address that a job names. Where there are rules, every connection is to an address that was checked when
/// it was looked up, and no proxy is asked, which would look the name up itself.
///
/// # Errors
/// The address is not allowed, or the system's TLS cannot be set up.
pub fn client_within(
    timeout: Duration,
    url: &Url,
    role: Role,
    allowed: &Allowed,
) -> Result<Client> {
    check(url, role, allowed)?;
    if !allowed.is_bound() {
        return client(timeout, is_local(url));
    }
    let checked = Checked {
        port: url.port_or_known_default().unwrap_or_default(),
        role,
        allowed: allowed.clone(),
    };
    made(builder(timeout).no_proxy().dns_resolver(Arc::new(checked)))
}

/// Checks the host of an address that a job names, as it is written.
///
/// # Errors
/// The host is not allowed.
pub fn check(url: &Url, role: Role, allowed: &Allowed) -> Result<()> {
    let port = url.port_or_known_default().unwrap_or_default();
    allowed.check_host(role, url.host_str().unwrap_or_default(), port)
}

fn builder(timeout: Duration) -> ClientBuilder {
    // It fails where another part of the program was first, and then that provider is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(timeout)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
}

fn made(client: ClientBuilder) -> Result<Client> {
    client.build().map_err(|error| {
        Error::new(ErrorKind::Internal, "the HTTP client cannot be made").because(error)
    })
}

/// Gives the client the addresses that are allowed, each time that it connects.
struct Checked {
    port: u16,
    role: Role,
    allowed: Allowed,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, role, port) = (self.allowed.clone(), self.role, self.port);
        Box::pin(async move {
            let found = allowed.addresses(role, name.as_str(), port).await?;
            // Rules that bind once bind for good.
            let addresses: Addrs = Box::new(found.unwrap_or_default().into_iter());
            Ok(addresses)
        })
    }
}

/// Says whether a URL is one of this machine's own addresses, which a proxy cannot reach.
#[must_use]
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
