//! Where the embedded target lives, and as whom its server runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{cannot_write, failed};
use crate::error::Result;

/// Where root's server lives when its own user cannot reach the cache folder, as below `/root`.
const ROOTS_FOLDER: &str = "/var/lib/relvec";

/// Users that a server started by root may run as, best first.
const OWNERS: &[&str] = &["postgres", "nobody"];

/// The unprivileged user of a server that root starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The folders of a cache's embedded target.
#[derive(Debug)]
pub(super) struct Place {
    /// Where virtual environments are.
    pub(super) base: PathBuf,
    /// What belongs to this target alone.
    pub(super) home: PathBuf,
    /// As whom the server runs, where that is another user.
    pub(super) owner: Option<Owner>,
}

impl Place {
    /// Gives the place of a cache folder's target. Changes nothing.
    pub(super) fn of(cache: &Path) -> Result<Self> {
        let owner = if rustix::process::geteuid().is_root() {
            let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
            Some(owner(&users).ok_or_else(|| {
                failed("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")
                    .hint("run relvec as another user, or add the user `postgres`")
            })?)
        } else {
            None
        };
        let near = Self {
            base: cache.to_owned(),
            home: cache.join("embedded"),
            owner: owner.clone(),
        };
        if owner.is_none() {
            return Ok(near);
        }
        let hash = Sha256::digest(cache.as_os_str().as_encoded_bytes());
        let name = hash[..8].iter().fold("embedded-".to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        });
        let far = Self {
            base: ROOTS_FOLDER.into(),
            home: Path::new(ROOTS_FOLDER).join(name),
            owner,
        };
        // Where there are data already, they decide: permissions above may have changed since.
        let prefer_near = if near.data().exists() || far.data().exists() {
            near.data().exists()
        } else {
            everyone_reaches(cache)
        };
        Ok(if prefer_near { near } else { far })
    }

    /// The server's own folder.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Readable for relvec's own user only.
    pub(super) fn password_file(&self) -> PathBuf {
        self.home.join("password")
    }

    /// The port of the last start, so that addresses stay valid.
    pub(super) fn port_file(&self) -> PathBuf {
        self.home.join("port")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.home.join("lock")
    }

    pub(super) fn make_folders(&self) -> Result<()> {
        fs::create_dir_all(&self.home).map_err(|error| cannot_write(&self.home, error))?;
        if self.owner.is_some() {
            // The server's user has to reach what lies below, whatever root's umask is.
            for folder in [&self.base, &self.home] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                    .map_err(|error| cannot_write(folder, error))?;
            }
        }
        Ok(())
    }

    /// Gives a file or an empty folder to the server's user.
    pub(super) fn hand_over(&self, path: &Path) -> Result<()> {
        match &self.owner {
            Some(owner) => chown(path, Some(owner.uid), Some(owner.gid))
                .map_err(|error| cannot_write(path, error)),
            None => Ok(()),
        }
    }
}

/// Says whether every user can pass through the folder and all above it. Folders that are not there yet can be made so.
fn everyone_reaches(folder: &Path) -> bool {
    folder
        .ancestors()
        .filter_map(|folder| fs::metadata(folder).ok())
        .all(|folder| folder.permissions().mode() & 0o001 != 0)
}

fn owner(users: &str) -> Option<Owner> {
    OWNERS.iter().find_map(|name| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            found.then(|| Owner {
                name: (*name).to_owned(),
                uid,
                gid,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_runs_as_postgres_or_nobody() {
        let users = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        let found = owner(users).unwrap();
        assert_eq!((found.uid, found.gid), (65534, 65533));
        let users = format!("{users}broken\npostgres:x:70:71::/:/bin/sh\n");
        assert_eq!(owner(&users).unwrap().name, "postgres");
        assert_eq!(owner("root:x:0:0::/root:/bin/sh\n"), None);
    }

    #[test]
    fn a_folder_below_a_closed_one_is_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!everyone_reaches(&open));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(everyone_reaches(&open.join("not-there-yet")));
    }
}
