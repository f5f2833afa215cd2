//! What the job of a gateway's caller may reach: hosts, files, variables, and programs of this machine.
//!
//! 1. [`Rules`] are read from the settings once. They bind the jobs that come through a gateway that has tokens, listens beyond
//!    loopback, or was given a list of hosts; to the machine's owner ([`Allowed::everything`]) they do not apply.
//! 2. What a job says is checked when it is accepted: [`Allowed::check_host`], [`Allowed::file`], [`Allowed::variable`].
//! 3. What a name stands for is checked when a connection is made ([`Allowed::addresses`]), and the connection is made to the very
//!    address that was checked: whoever asks connects to what it is given and does not look the name up again.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};

pub mod address;
pub mod hosts;
pub mod relay;

use hosts::Hosts;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The database that rows come from.
    Source,
    /// The database that vectors go to.
    Target,
    /// The embedding API.
    Embedding,
    /// The language model's API.
    Llm,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Source, Self::Target, Self::Embedding, Self::Llm];

    /// Gives the role's name, as the list of hosts has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Embedding => "embedding",
            Self::Llm => "llm",
        }
    }
}

/// How a name becomes addresses; the system's resolver, or a test's own.
pub type Resolver =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// What the operator of a gateway allows.
pub struct Rules {
    /// Whether they bind now.
    binding: AtomicBool,
    hosts: Hosts,
    /// Folders, without symbolic links in their paths.
    folders: Vec<PathBuf>,
    variables: BTreeSet<String>,
    images: BTreeSet<String>,
    networks: BTreeSet<String>,
    /// Whether a script may run as a process of this machine.
    process: bool,
    resolver: Resolver,
}

/// The rules as texts.
#[derive(Debug, Clone, Default)]
pub struct Lists<'a> {
    /// Hosts, as [`hosts`] says.
    pub hosts: Option<&'a str>,
    /// Folders of SQLite files and of files that hold secrets.
    pub folders: &'a [PathBuf],
    /// Environment variables that jobs may name.
    pub variables: &'a [String],
    /// Images that jobs may build on, beside the usual one.
    pub images: &'a [String],
    /// Networks of the container daemon, beside its usual one.
    pub networks: &'a [String],
    /// Whether a script may run as a process of this machine.
    pub process: bool,
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// The list of hosts is malformed, or a folder is not there.
    pub fn read(lists: &Lists<'_>) -> Result<Self> {
        let folders = lists.folders.iter().map(|folder| {
            std::fs::canonicalize(folder).map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("RELVEC_ALLOW_PATHS: {} cannot be used", folder.display()),
                )
                .because(error)
                .hint("name folders that are there, with `:` between them")
            })
        });
        Ok(Self {
            // A list that was given is meant to be heeded.
            binding: AtomicBool::new(lists.hosts.is_some()),
            hosts: Hosts::read(lists.hosts.unwrap_or(hosts::USUAL))?,
            folders: folders.collect::<Result<_>>()?,
            variables: lists.variables.iter().cloned().collect(),
            images: lists.images.iter().cloned().collect(),
            networks: lists.networks.iter().cloned().collect(),
            process: lists.process,
            resolver: Arc::new(|host, port| {
                Box::pin(async move {
                    tokio::net::lookup_host((host, port))
                        .await
                        .map(Iterator::collect)
                })
            }),
        })
    }

    /// Looks names up another way.
    #[must_use]
    pub fn resolving(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("binding", &self.binding)
            .field("hosts", &self.hosts)
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

/// What a run may reach. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Option<Arc<Rules>>);

impl Allowed {
    /// Gives what the machine's owner may reach: everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self(None)
    }

    /// Gives what rules allow, as soon as they bind.
    #[must_use]
    pub fn by(rules: Rules) -> Self {
        Self(Some(Arc::new(rules)))
    }

    /// Makes the rules binding, for good.
    pub fn bind(&self) {
        if let Some(rules) = &self.0 {
            rules.binding.store(true, Ordering::Release);
        }
    }

    fn rules(&self) -> Option<&Rules> {
        let rules = self.0.as_deref();
        rules.filter(|rules| rules.binding.load(Ordering::Acquire))
    }

    /// Says whether there are rules to heed.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.rules().is_some()
    }

    /// Checks a host as it is written. A name that passes is checked again when it is looked up.
    ///
    /// # Errors
    /// The host is not allowed.
    pub fn check_host(&self, role: Role, host: &str, port: u16) -> Result<()> {
        let Some(rules) = self.rules() else {
            return Ok(());
        };
        let is_allowed = match literal(host) {
            Some(address) => rules.hosts.allow(role, host, address, port),
            None => rules.hosts.may_name(role, host, port),
        };
        if is_allowed {
            Ok(())
        } else {
            Err(refused(role, host, port))
        }
    }

    /// Gives the addresses at which a host may be reached; nothing where there are no rules, and the host is for whoever connects to
    /// look up.
    ///
    /// # Errors
    /// The host cannot be looked up, or none of its addresses is allowed.
    pub async fn addresses(
        &self,
        role: Role,
        host: &str,
        port: u16,
    ) -> Result<Option<Vec<SocketAddr>>> {
        let Some(rules) = self.rules() else {
            return Ok(None);
        };
        self.check_host(role, host, port)?;
        let found = match literal(host) {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => (rules.resolver)(host.to_owned(), port)
                .await
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("the {} host `{host}` cannot be looked up", role.name()),
                    )
                    .because(error)
                    .hint("check the host's name")
                })?,
        };
        let allowed: Vec<SocketAddr> = found
            .into_iter()
            .map(|found| SocketAddr::new(found.ip(), port))
            .filter(|found| rules.hosts.allow(role, host, found.ip(), port))
            .collect();
        if allowed.is_empty() {
            return Err(refused(role, host, port));
        }
        Ok(Some(allowed))
    }

    /// Checks that the target which relvec brings along may be used.
    ///
    /// # Errors
    /// It may not: all who use the gateway would share it.
    pub fn check_embedded(&self) -> Result<()> {
        if self.rules().is_none_or(|rules| rules.hosts.embedded()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            "target: this gateway does not offer the embedded target, which all its tenants would share",
        )
        .hint("name a target of your own in `target.url`, or let the operator add `embedded` to RELVEC_ALLOW_HOSTS"))
    }

    /// Gives the path of a file that a job names, without symbolic links where there are rules.
    ///
    /// # Errors
    /// The file is not in an allowed folder, or is not there.
    pub fn file(&self, path: &Path) -> Result<PathBuf> {
        let Some(rules) = self.rules() else {
            return Ok(path.to_owned());
        };
        // The same whether there is such a file or not: nobody can look around with it.
        let found = std::fs::canonicalize(path).ok();
        found
            .filter(|path| rules.folders.iter().any(|folder| path.starts_with(folder)))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "there is no file {} in a folder that this gateway allows",
                        path.display()
                    ),
                )
                .hint("the operator lists folders in RELVEC_ALLOW_PATHS")
            })
    }

    /// Checks an environment variable that a job names.
    ///
    /// # Errors
    /// The operator does not offer it.
    pub fn variable(&self, place: &str, name: &str) -> Result<()> {
        if self
            .rules()
            .is_none_or(|rules| rules.variables.contains(name))
        {
            return Ok(());
        }
        let shown: String = name.chars().take(80).collect();
        Err(Error::new(
            ErrorKind::Invalid,
            format!("{place} names the environment variable `{shown}`, which this gateway does not offer"),
        )
        .hint("the operator lists variables in RELVEC_ALLOW_VARIABLES"))
    }

    /// Checks the image and the networks that a job names for its container.
    ///
    /// # Errors
    /// The operator does not offer one of them.
    pub fn container(&self, image: Option<&str>, networks: [Option<&str>; 2]) -> Result<()> {
        let Some(rules) = self.rules() else {
            return Ok(());
        };
        let image = image.filter(|image| !rules.images.contains(*image));
        let mut networks = networks.into_iter().flatten();
        let network = networks.find(|network| !rules.networks.contains(*network));
        let refused = |what: &str, name: &str, setting: &str| {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("execution: this gateway does not offer the {what} `{name}`"),
            )
            .hint(format!(
                "leave it out; the operator lists others in {setting}"
            )))
        };
        match (image, network) {
            (Some(image), _) => refused("image", image, "RELVEC_ALLOW_IMAGES"),
            (None, Some(network)) => refused("network", network, "RELVEC_ALLOW_NETWORKS"),
            (None, None) => Ok(()),
        }
    }

    /// Says whether a script may run as a process of this machine.
    #[must_use]
    pub fn process(&self) -> bool {
        self.rules().is_none_or(|rules| rules.process)
    }
}

/// Reads an address in every form that a resolver would take for one: `169.254.169.254`, `0xA9FEA9FE`, `2852039166`, `0251.0376…`.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Some(address);
    }
    match url::Host::parse(bare).ok()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

fn refused(role: Role, host: &str, port: u16) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "the {} `{host}:{port}` is no host that this gateway connects to",
            role.name()
        ),
    )
    .hint("addresses that are not of the public internet have to be allowed as networks: the operator lists hosts in RELVEC_ALLOW_HOSTS")
}

#[cfg(test)]
mod tests;
