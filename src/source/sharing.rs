//! Work on tables one by one, shared out to a few connections.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use futures::future;

use crate::error::Result;

/// A connection that works on one table after the other.
pub(super) trait Worker: Send {
    /// A table.
    type Item: Send;

    /// Works on a table. Only what ends all the work is an error; what is wrong with the table is kept in it.
    fn work(&mut self, item: &mut Self::Item) -> impl Future<Output = Result<()>> + Send;
}

/// Hands each item to the next worker that is free. The first error ends it.
pub(super) async fn share_out<W: Worker>(workers: &mut [W], items: &mut [W::Item]) -> Result<()> {
    let queue = Mutex::new(items.iter_mut());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let next = &next;
    let workers = workers.iter_mut().map(|worker| async move {
        while let Some(item) = next() {
            worker.work(item).await?;
        }
        Ok(())
    });
    future::try_join_all(workers).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    struct Adder(u32);

    impl Worker for Adder {
        type Item = u32;

        async fn work(&mut self, item: &mut u32) -> Result<()> {
            tokio::task::yield_now().await;
            self.0 += 1;
            *item += 1;
            if *item == 100 {
                return Err(Error::new(ErrorKind::Internal, "no further"));
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_item_is_worked_on_once_and_all_workers_work() {
        let mut items = vec![0; 50];
        let mut workers = [Adder(0), Adder(0), Adder(0)];
        share_out(&mut workers, &mut items).await.expect("no error");
        assert!(items.iter().all(|item| *item == 1));
        assert!(workers.iter().all(|worker| worker.0 > 5));
        items[3] = 99;
        share_out(&mut workers, &mut items)
            .await
            .expect_err("stops");
        assert!(items.iter().filter(|item| **item == 2).count() < 10);
    }
}
