//! The list of hosts that callers' jobs may name, and the two questions that it answers: whether a host's name is on it, and
//! whether an address is.
//!
//! ```text
//! [ROLE=]WHAT[:PORT]      ROLE  source | target | embedding | llm; every role where there is none
//!                         WHAT  *             any name, at an address of the public internet
//!                               db.example    this name, at an address of the public internet
//!                               *.example     any name below it, likewise
//!                               10.1.0.0/16   any name at an address in this network, public or not
//!                               embedded      the target that relvec brings along
//! ```

use std::net::IpAddr;

use super::Role;
use super::address::{Network, is_public};
use crate::error::{Error, ErrorKind, Result};

/// What holds where the operator says nothing.
pub const USUAL: &str = "*";

/// The list.
#[derive(Debug, Clone)]
pub struct Hosts(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    role: Option<Role>,
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum What {
    Any,
    Name(String),
    Below(String),
    Network(Network),
    Embedded,
}

impl Hosts {
    /// Reads a list with commas between its entries.
    ///
    /// # Errors
    /// An entry is none of those above.
    pub fn read(text: &str) -> Result<Self> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(Entry::read).collect::<Result<_>>().map(Self)
    }

    /// Says whether the embedded target may be used.
    #[must_use]
    pub fn embedded(&self) -> bool {
        self.0
            .iter()
            .any(|entry| matches!(entry.what, What::Embedded) && entry.fits(Role::Target, None))
    }

    /// Says whether a host may be looked up at all: its name is listed, or it may be in a network that is.
    #[must_use]
    pub fn may_name(&self, role: Role, host: &str, port: u16) -> bool {
        self.0.iter().any(|entry| {
            entry.fits(role, Some(port))
                && match &entry.what {
                    What::Any | What::Network(_) => true,
                    What::Name(_) | What::Below(_) => entry.names(host),
                    What::Embedded => false,
                }
        })
    }

    /// Says whether a host may be reached at an address.
    #[must_use]
    pub fn allow(&self, role: Role, host: &str, address: IpAddr, port: u16) -> bool {
        self.0.iter().any(|entry| {
            entry.fits(role, Some(port))
                && match &entry.what {
                    What::Any => is_public(address),
                    What::Name(_) | What::Below(_) => entry.names(host) && is_public(address),
                    What::Network(network) => network.has(address),
                    What::Embedded => false,
                }
        })
    }
}

impl Entry {
    fn read(text: &str) -> Result<Self> {
        let (role, rest) = match text.split_once('=') {
            Some((role, rest)) => {
                let named = Role::ALL.into_iter().find(|known| known.name() == role);
                (Some(named.ok_or_else(|| wrong(text))?), rest)
            }
            None => (None, text),
        };
        let (what, port) = split_port(rest).ok_or_else(|| wrong(text))?;
        let what = What::read(what).ok_or_else(|| wrong(text))?;
        Ok(Self { role, what, port })
    }

    fn fits(&self, role: Role, port: Option<u16>) -> bool {
        self.role.is_none_or(|only| only == role)
            && port.is_none_or(|port| self.port.is_none_or(|only| only == port))
    }

    fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match &self.what {
            What::Name(name) => host == *name,
            What::Below(parent) => host
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            What::Any | What::Network(_) | What::Embedded => false,
        }
    }
}

impl What {
    fn read(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
            !name.is_empty() && name.len() <= 253 && name.chars().all(plain) && !numeric
        };
        if text == "*" {
            return Some(Self::Any);
        }
        if text == "embedded" {
            return Some(Self::Embedded);
        }
        if let Some(network) = Network::read(text) {
            return Some(Self::Network(network));
        }
        let lower = text.to_ascii_lowercase();
        if let Some(parent) = lower.strip_prefix("*.") {
            return is_name(parent).then(|| Self::Below(parent.to_owned()));
        }
        is_name(&lower).then_some(Self::Name(lower))
    }
}

/// Takes a port off the end: what has more than one `:` and no brackets is an address of IPv6.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let bare_v6 = !text.starts_with('[') && text.matches(':').count() > 1;
    match text.rsplit_once(':') {
        Some((what, port)) if !bare_v6 && !port.contains(']') => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            Some((what, Some(port)))
        }
        Some(_) | None => Some((text, None)),
    }
}

fn wrong(entry: &str) -> Error {
    let shown: String = entry.chars().take(80).collect();
    Error::new(
        ErrorKind::Configuration,
        format!("RELVEC_ALLOW_HOSTS: `{shown}` is no host, network, `*` or `embedded`"),
    )
    .hint("write entries as *, db.example:5432, *.example, 10.1.0.0/16 or embedded, each with source=, target=, embedding= or llm= before it if it is for one role only, and commas between them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(list: &str, role: Role, host: &str, address: &str, port: u16) -> bool {
        let hosts = Hosts::read(list).unwrap();
        let allowed = hosts.allow(role, host, address.parse().unwrap(), port);
        assert!(!allowed || hosts.may_name(role, host, port));
        allowed
    }

    #[test]
    fn a_name_is_allowed_at_public_addresses_only() {
        let source = Role::Source;
        assert!(allow("db.example", source, "DB.example.", "1.1.1.1", 5432));
        assert!(!allow("db.example", source, "db.example", "10.0.0.1", 5432));
        assert!(!allow(
            "db.example",
            source,
            "other.example",
            "1.1.1.1",
            5432
        ));
        assert!(allow("*.example", source, "a.b.example", "1.1.1.1", 1));
        assert!(!allow("*.example", source, "example", "1.1.1.1", 1));
        assert!(!allow("*.example", source, "badexample", "1.1.1.1", 1));
        assert!(allow("*", source, "anything", "1.1.1.1", 1));
        assert!(!allow("*", source, "anything", "169.254.169.254", 80));
        assert!(!allow("", source, "anything", "1.1.1.1", 1));
    }

    #[test]
    fn a_network_allows_what_is_in_it() {
        let list = "db.example, 10.1.0.0/16";
        assert!(allow(list, Role::Source, "db.example", "10.1.2.3", 5432));
        assert!(allow(list, Role::Source, "10.1.2.3", "10.1.2.3", 5432));
        assert!(!allow(list, Role::Source, "db.example", "10.2.2.3", 5432));
    }

    #[test]
    fn roles_and_ports_narrow_an_entry() {
        let list = "source=10.0.0.0/8:5432, target=[::1]:5433, llm=*, embedded";
        assert!(allow(list, Role::Source, "h", "10.0.0.1", 5432));
        assert!(!allow(list, Role::Source, "h", "10.0.0.1", 22));
        assert!(!allow(list, Role::Target, "h", "10.0.0.1", 5432));
        assert!(allow(list, Role::Target, "::1", "::1", 5433));
        assert!(allow(list, Role::Llm, "h", "1.1.1.1", 443));
        assert!(!allow(list, Role::Embedding, "h", "1.1.1.1", 443));
        assert!(Hosts::read(list).unwrap().embedded());
        assert!(!Hosts::read("*").unwrap().embedded());
        assert!(!Hosts::read("source=embedded").unwrap().embedded());
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in [
            "http://db.example",
            "db example",
            "sink=db.example",
            "db.example:0",
            "db.example:70000",
            "10.0.0.0/40",
            "*.",
            "a*b",
            "1.2.3",
        ] {
            assert!(Hosts::read(wrong).is_err(), "{wrong}");
        }
    }
}
