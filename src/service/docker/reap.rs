//! Containers that dead executions left behind.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use uuid::Uuid;

use super::{Docker, label};
use crate::error::Result;

impl Docker {
    /// Removes the containers of this relvec whose execution is over, and gives their names.
    ///
    /// Of the run `own`, which the caller executes, that is every container of an earlier epoch; of another run it is all of
    /// them where `is_dead` says that nobody executes that run.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub async fn reap(
        &self,
        home: &str,
        own: Option<(Uuid, u64)>,
        is_dead: impl Fn(Uuid) -> bool + Send,
    ) -> Result<Vec<String>> {
        let filter = format!("{}={home}", label::HOME);
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![filter])])),
            ..ListContainersOptions::default()
        };
        let found = self
            .client
            .list_containers(Some(options))
            .await
            .map_err(|error| self.failed("containers cannot be listed", &error))?;
        let mut reaped = Vec::new();
        for container in found {
            let labels = container.labels.unwrap_or_default();
            let run = labels.get(label::RUN).and_then(|run| run.parse().ok());
            let epoch: Option<u64> = labels
                .get(label::EPOCH)
                .and_then(|epoch| epoch.parse().ok());
            let (Some(id), Some(run), Some(epoch)) = (container.id, run, epoch) else {
                continue;
            };
            let orphan = match own {
                Some((own, now)) if own == run => epoch < now,
                Some(_) | None => is_dead(run),
            };
            if orphan && self.remove(&id).await.is_ok() {
                let names = container.names.unwrap_or_default();
                let name = names.first().map_or(id.as_str(), String::as_str);
                reaped.push(name.trim_start_matches('/').to_owned());
            }
        }
        Ok(reaped)
    }

    /// Kills and removes a container, if it is there.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..RemoveContainerOptions::default()
        };
        match self.client.remove_container(id, Some(options)).await {
            // Where there is a conflict, another is removing it.
            Ok(())
            | Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(self.failed("a container cannot be removed", &error)),
        }
    }
}
