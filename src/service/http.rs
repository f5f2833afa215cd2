//! The HTTP client.

use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Gives a client that follows no redirect, so that a key is only ever sent where the job says.
///
/// Where `local` is set, the environment's proxies are left out: they are for other machines.
///
/// # Errors
/// The system's TLS cannot be set up.
pub fn client(timeout: Duration, local: bool) -> Result<reqwest::Client> {
    // It fails where another part of the program was first, and then that provider is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none());
    if local {
        client = client.no_proxy();
    }
    client.build().map_err(|error| {
        Error::new(ErrorKind::Internal, "the HTTP client cannot be made").because(error)
    })
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
