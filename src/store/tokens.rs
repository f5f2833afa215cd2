//! Access tokens: their hashes, and what each allows.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Store, damaged, now, parse_time, query};
use crate::access::{Scopes, TokenHash};
use crate::error::{Error, ErrorKind, Result};

/// A token to keep.
#[derive(Debug)]
pub struct TokenToKeep<'a> {
    /// Its id.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Whom it stands for.
    pub tenant: &'a str,
    /// What it allows.
    pub scopes: &'a Scopes,
    /// The hash of its text.
    pub hash: TokenHash,
    /// When it stops working; never if absent.
    pub expires_at: Option<OffsetDateTime>,
}

/// A token as it is kept.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whom it stands for.
    pub tenant: String,
    /// What it allows.
    pub scopes: Scopes,
    /// The hash of its text.
    pub hash: TokenHash,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// When it stops working; never if absent.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked, in RFC 3339.
    pub revoked_at: Option<String>,
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
);

const ALL: &str = "SELECT id, name, tenant, scopes, hash, created_at, expires_at, revoked_at FROM tokens ORDER BY created_at, id";

impl Store {
    /// Keeps a token that was made just now.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn keep_token(&self, token: &TokenToKeep<'_>) -> Result<()> {
        let expires_at = token.expires_at.map(|end| end.format(&Rfc3339));
        let expires_at = expires_at
            .transpose()
            .map_err(|error| damaged("no time that a token ends").because(error))?;
        let insert = query(
            "INSERT INTO tokens (id, name, tenant, scopes, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(token.id)
        .bind(token.name)
        .bind(token.tenant)
        .bind(token.scopes.to_string())
        .bind(token.hash.to_hex())
        .bind(now())
        .bind(expires_at);
        self.write("keep the token", move |c| {
            Box::pin(async move { insert.execute(c).await.map(drop) })
        })
        .await
    }

    /// Gives every token, the oldest first, with those that were revoked.
    ///
    /// # Errors
    /// The store cannot be read, or holds a token that is none.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>> {
        let rows: Vec<Row> = self.all("read the tokens", query(ALL)).await?;
        rows.into_iter().map(read).collect()
    }

    /// Revokes a token. One that was revoked before stays so.
    ///
    /// # Errors
    /// There is no such token, or the store cannot be written.
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        let update = query("UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1")
            .bind(id)
            .bind(now());
        let changed = self
            .write("revoke the token", move |c| {
                Box::pin(async move { update.execute(c).await })
            })
            .await?;
        if changed == 1 {
            return Ok(());
        }
        let shown: String = id.chars().take(40).collect();
        Err(
            Error::new(ErrorKind::NotFound, format!("there is no token `{shown}`"))
                .hint("relvec token list shows the ids"),
        )
    }
}

fn read(row: Row) -> Result<StoredToken> {
    let (id, name, tenant, scopes, hash, created_at, expires_at, revoked_at) = row;
    Ok(StoredToken {
        scopes: scopes
            .parse()
            .map_err(|error| damaged("a scope that this relvec does not know").because(error))?,
        hash: TokenHash::from_hex(&hash).ok_or_else(|| damaged("a token's hash that is none"))?,
        expires_at: expires_at.as_deref().map(parse_time).transpose()?,
        id,
        name,
        tenant,
        created_at,
        revoked_at,
    })
}
