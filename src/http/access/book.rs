//! The tokens of the store, as they were at most a second ago: a token that is revoked stops working within that second, and a
//! request asks the store for none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::access::{Scopes, ShownToken, TokenHash};
use crate::error::Result;
use crate::store::{Store, StoredToken};

/// How long what was read is taken for what is.
const FRESH: Duration = Duration::from_secs(1);

/// How long before somebody reads again.
const AGED: Duration = Duration::from_millis(500);

/// A token that may be shown.
#[derive(Debug)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What people call it; empty where nobody named it.
    pub name: String,
    /// Whom it stands for.
    pub tenant: Arc<str>,
    /// What it allows.
    pub scopes: Scopes,
    hash: TokenHash,
    expires_at: Option<OffsetDateTime>,
}

/// Every token that there is.
#[derive(Debug, Default)]
pub struct Tokens {
    usable: HashMap<String, Arc<Token>>,
    /// Whether there ever was one: revoking the last does not open the gateway again.
    any: bool,
}

impl Tokens {
    fn of(stored: Vec<StoredToken>) -> Self {
        let any = !stored.is_empty();
        let usable = stored
            .into_iter()
            .filter(|token| token.revoked_at.is_none())
            .map(|token| {
                let known = Token {
                    tenant: token.tenant.into(),
                    scopes: token.scopes,
                    hash: token.hash,
                    expires_at: token.expires_at,
                    name: token.name,
                    id: token.id,
                };
                (known.id.clone(), Arc::new(known))
            })
            .collect();
        Self { usable, any }
    }

    /// Says whether there is none and never was one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// Says whether one of them can be used.
    #[must_use]
    pub fn has_usable(&self) -> bool {
        self.usable.values().any(|token| token.is_in_time())
    }

    /// Gives the token that is shown, if it is known and can be used.
    #[must_use]
    pub fn find(&self, shown: &ShownToken) -> Option<&Arc<Token>> {
        let token = self.usable.get(&shown.id)?;
        (token.hash == shown.hash && token.is_in_time()).then_some(token)
    }

    /// Says whether a token that was found before can still be used.
    #[must_use]
    pub fn still_has(&self, token: &Token) -> bool {
        let known = self.usable.get(&token.id);
        known.is_some_and(|known| known.hash == token.hash && known.is_in_time())
    }
}

impl Token {
    fn is_in_time(&self) -> bool {
        self.expires_at
            .is_none_or(|end| OffsetDateTime::now_utc() < end)
    }
}

/// What was read last.
#[derive(Debug, Default)]
pub struct Book {
    read: Mutex<Option<(Instant, Arc<Tokens>)>>,
    reading: tokio::sync::Mutex<()>,
}

impl Book {
    /// Gives the tokens as they are, or were a second ago.
    ///
    /// # Errors
    /// The store cannot be read. What was known before is not taken for true then.
    pub async fn tokens(&self, store: &Store) -> Result<Arc<Tokens>> {
        let known = self.known();
        let _reading = match known {
            Some((age, tokens)) if age < AGED => return Ok(tokens),
            // One reads in time, and the others go on with what is fresh still.
            Some((age, tokens)) if age < FRESH => match self.reading.try_lock() {
                Ok(reading) => reading,
                Err(_) => return Ok(tokens),
            },
            Some(_) | None => self.reading.lock().await,
        };
        if let Some((age, tokens)) = self.known()
            && age < AGED
        {
            return Ok(tokens);
        }
        let begun = Instant::now();
        let tokens = Arc::new(Tokens::of(store.tokens().await?));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Some((begun, Arc::clone(&tokens)));
        Ok(tokens)
    }

    /// Gives what was read last, and how long ago.
    fn known(&self) -> Option<(Duration, Arc<Tokens>)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, tokens) = read.as_ref()?;
        Some((at.elapsed(), Arc::clone(tokens)))
    }
}
