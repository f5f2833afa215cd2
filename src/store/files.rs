//! The bytes of runs' files, in a store that several gateways share. In a file's store the run's folder is the only copy.

use uuid::Uuid;

use super::Store;
use super::backend::query;
use crate::error::Result;

impl Store {
    /// Gives the bytes of a run's file, if the store has them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn content(&self, run_id: Uuid, name: &str) -> Result<Option<Vec<u8>>> {
        let asked = query("SELECT content FROM artifacts WHERE run_id = $1 AND name = $2")
            .bind(run_id)
            .bind(name);
        let row: Option<(Option<Vec<u8>>,)> = self.optional("read a file", asked).await?;
        Ok(row.and_then(|(content,)| content))
    }
}
