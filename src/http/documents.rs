//! Documents of runs that are over, as they are sent. Such a document never changes, and whoever waits for a run asks for it often.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// How long a document is kept: a run that is removed from the store is gone here as well, after this time.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The most bytes of documents that are kept.
const MOST_BYTES: usize = 32 << 20;

/// The documents that are kept.
#[derive(Debug, Default)]
pub struct Documents(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    documents: HashMap<Uuid, (Instant, Bytes)>,
    bytes: usize,
}

impl Documents {
    /// Gives a run's document as JSON.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn get(&self, store: &Store, run_id: Uuid) -> Result<Bytes> {
        if let Some(kept) = self.kept(run_id) {
            return Ok(kept);
        }
        let document = store.document(run_id).await?;
        let text = serde_json::to_vec(&document).map_err(|error| {
            Error::new(ErrorKind::Internal, "a run's document is not JSON").because(error)
        })?;
        let text = Bytes::from(text);
        if document.status.is_terminal() {
            self.keep(run_id, text.clone());
        }
        Ok(text)
    }

    fn kept(&self, run_id: Uuid) -> Option<Bytes> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (since, text) = kept.documents.get(&run_id)?;
        (since.elapsed() < KEPT_FOR).then(|| text.clone())
    }

    fn keep(&self, run_id: Uuid, text: Bytes) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + text.len() > MOST_BYTES {
            *kept = Kept::default();
        }
        kept.bytes += text.len();
        if let Some((_, old)) = kept.documents.insert(run_id, (Instant::now(), text)) {
            kept.bytes -= old.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let documents = Documents::default();
        let text = Bytes::from(vec![b' '; MOST_BYTES / 4]);
        let ids: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
        for id in &ids {
            documents.keep(*id, text.clone());
            documents.keep(*id, text.clone());
            assert_eq!(documents.kept(*id), Some(text.clone()));
            assert!(documents.0.read().unwrap().bytes <= MOST_BYTES);
        }
        let kept = ids.iter().filter(|id| documents.kept(**id).is_some());
        assert_eq!(kept.count(), 3, "the others made room");
        assert_eq!(documents.kept(Uuid::nil()), None);
    }
}
