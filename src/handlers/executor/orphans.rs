//! Containers whose relvec was killed: found by their labels, removed by the next run or by the gateway's start.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::error::Result;
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::service::docker::Docker;
use crate::service::lock;

/// The file that holds the name of the relvec whose cache it is in.
const OWNER: &str = "container-owner";

/// Removes what runs that nobody executes left behind, and gives the containers' names. `folder_of` gives a run's folder.
///
/// # Errors
/// The daemon that was used before does not answer.
pub async fn reap_orphans(
    cache: &Path,
    folder_of: impl Fn(Uuid) -> PathBuf + Send + Sync,
) -> Result<Vec<String>> {
    // Who never ran a container has no name, and need not have a daemon.
    let Some(home) = known_owner(cache) else {
        return Ok(Vec::new());
    };
    let docker = Docker::connect().await?;
    let is_dead = |run| !lock::is_held(&folder_of(run).join(lock::OF_RUN));
    docker.reap(&home, None, is_dead).await
}

/// Removes earlier containers of this run, and those of runs that nobody executes.
pub(super) async fn reap(
    docker: &Docker,
    home: &str,
    epoch: u64,
    ctx: &Context,
) -> Result<(), HandlerError> {
    let runs = ctx.artifacts().parent().map(Path::to_owned);
    let is_dead = |run: Uuid| {
        let folder = runs.as_ref().map(|runs| runs.join(run.to_string()));
        folder.is_some_and(|folder| !lock::is_held(&folder.join(lock::OF_RUN)))
    };
    let own = Some((ctx.run_id(), epoch));
    for name in docker.reap(home, own, is_dead).await? {
        ctx.log(
            LogLevel::Warn,
            format!("removed container {name}, whose relvec is gone"),
        );
    }
    Ok(())
}

/// Gives the name of the relvec that this cache belongs to, and makes one where it has none: a daemon may serve several.
pub(super) fn owner(cache: &Path) -> Result<String, HandlerError> {
    if let Some(name) = known_owner(cache) {
        return Ok(name);
    }
    let (path, name) = (cache.join(OWNER), Uuid::new_v4().to_string());
    let part = cache.join(format!(".{OWNER}.{name}"));
    let made = std::fs::create_dir_all(cache)
        .and_then(|()| std::fs::write(&part, &name))
        // The first one stays, where two begin at once.
        .and_then(|()| std::fs::hard_link(&part, &path));
    let _ = std::fs::remove_file(&part);
    known_owner(cache).ok_or_else(|| {
        let why = made.map_or_else(|error| error.to_string(), |()| "it is no name".to_owned());
        HandlerError::permanent(format!("cannot make {}: {why}", path.display()))
    })
}

fn known_owner(cache: &Path) -> Option<String> {
    let name = std::fs::read_to_string(cache.join(OWNER)).ok()?;
    name.parse::<Uuid>().is_ok().then_some(name)
}

/// Gives the number of this execution: a later one has a greater number.
pub(super) fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_one_name_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("cache");
        assert_eq!(known_owner(&cache), None);
        let name = owner(&cache).expect("a name");
        assert_eq!(owner(&cache).expect("a name"), name);
        assert_eq!(known_owner(&cache), Some(name));
        assert_eq!(std::fs::read_dir(&cache).expect("the cache").count(), 1);
    }
}
