//! Who may use the gateway, how much of it, and what a caller's job may reach. `docs/access.md` says what each setting means.

use std::path::PathBuf;
use std::time::Duration;

use super::{number, variable};
use crate::error::Result;

/// What the environment decides about a gateway's callers.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Hosts that jobs may name: `RELVEC_ALLOW_HOSTS`.
    pub hosts: Option<String>,
    /// Folders of files that jobs may name: `RELVEC_ALLOW_PATHS`, with `:` between them.
    pub folders: Vec<PathBuf>,
    /// Environment variables that jobs may name: `RELVEC_ALLOW_VARIABLES`.
    pub variables: Vec<String>,
    /// Images that jobs may build on: `RELVEC_ALLOW_IMAGES`.
    pub images: Vec<String>,
    /// Networks of the container daemon that jobs may name: `RELVEC_ALLOW_NETWORKS`.
    pub networks: Vec<String>,
    /// Names under which the gateway is reached: `RELVEC_SERVER_NAMES`.
    pub server_names: Vec<String>,
    /// Origins of web pages that may ask the gateway: `RELVEC_ALLOW_ORIGINS`.
    pub origins: Vec<String>,
    /// Requests a second of one token: `RELVEC_RATE`, else 100; 0 for any number.
    pub rate: u32,
    /// Open connections: `RELVEC_CONNECTIONS`, else 2,048.
    pub connections: usize,
    /// How long a request may take until its answer begins: `RELVEC_REQUEST_SECONDS`, else 30 s.
    pub request_time: Duration,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            hosts: None,
            folders: Vec::new(),
            variables: Vec::new(),
            images: Vec::new(),
            networks: Vec::new(),
            server_names: Vec::new(),
            origins: Vec::new(),
            rate: 100,
            connections: 2_048,
            request_time: Duration::from_secs(30),
        }
    }
}

impl AccessSettings {
    pub(super) fn from_environment() -> Result<Self> {
        let usual = Self::default();
        let folders = variable("RELVEC_ALLOW_PATHS").unwrap_or_default();
        Ok(Self {
            hosts: variable("RELVEC_ALLOW_HOSTS"),
            folders: std::env::split_paths(&folders)
                .filter(|folder| !folder.as_os_str().is_empty())
                .collect(),
            variables: list("RELVEC_ALLOW_VARIABLES"),
            images: list("RELVEC_ALLOW_IMAGES"),
            networks: list("RELVEC_ALLOW_NETWORKS"),
            server_names: list("RELVEC_SERVER_NAMES"),
            origins: list("RELVEC_ALLOW_ORIGINS"),
            rate: number("RELVEC_RATE", 0..=1_000_000)?.unwrap_or(usual.rate),
            connections: number("RELVEC_CONNECTIONS", 1..=1_000_000)?.unwrap_or(usual.connections),
            request_time: number("RELVEC_REQUEST_SECONDS", 1..=3_600)?
                .map_or(usual.request_time, Duration::from_secs),
        })
    }
}

fn list(name: &str) -> Vec<String> {
    let text = variable(name).unwrap_or_default();
    let entries = text.split(',').map(str::trim);
    entries
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect()
}
