//! `relvec token`: who may use the gateway.

use secrecy::ExposeSecret as _;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime};

use super::{print_json, show};
use crate::access::{NewToken, Scopes, check_tenant};
use crate::cli::{Format, TokenArgs, TokenCommand};
use crate::error::{Error, ErrorKind, Result};
use crate::settings::Settings;
use crate::store::{Store, StoredToken, TokenToKeep};

/// The most characters of what people call a token.
const MOST_NAME: usize = 100;

/// Makes, lists or revokes tokens in the run store.
///
/// # Errors
/// An argument is malformed, there is no such token, or the store cannot be used.
pub async fn token(command: TokenCommand, settings: &Settings) -> Result<u8> {
    match command {
        TokenCommand::Create(args) => create(&args, settings).await?,
        TokenCommand::List { format } => list(format, settings).await?,
        TokenCommand::Revoke { id } => {
            open(settings).await?.revoke_token(&id).await?;
            show(&format!(
                "revoked {id}; a gateway that runs refuses it within a second\n"
            ))?;
        }
    }
    Ok(0)
}

async fn open(settings: &Settings) -> Result<Store> {
    Store::open(&settings.store()).await
}

async fn create(args: &TokenArgs, settings: &Settings) -> Result<()> {
    check_tenant(&args.tenant)?;
    let scopes: Scopes = args.scope.parse()?;
    let name = args.name.as_deref().unwrap_or_default();
    if name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("--name has at most {MOST_NAME} characters and no control characters"),
        ));
    }
    let expires_at = args.expires.as_deref().map(end_of).transpose()?;
    let store = open(settings).await?;
    let made = NewToken::make()?;
    store
        .keep_token(&TokenToKeep {
            id: &made.id,
            name,
            tenant: &args.tenant,
            scopes: &scopes,
            hash: made.hash,
            expires_at,
        })
        .await?;
    let text = made.text.expose_secret();
    match args.format {
        Format::Json => print_json(&json!({
            "id": made.id,
            "name": name,
            "tenant": args.tenant,
            "scopes": scopes.to_string(),
            "expires_at": expires_at.map(shown),
            "token": text,
        })),
        Format::Human => {
            // The token alone on standard output, so that a script can take it.
            eprintln!(
                "token {} of tenant {}: {scopes}; it is shown this once",
                made.id, args.tenant
            );
            show(&format!("{text}\n"))
        }
    }
}

async fn list(format: Format, settings: &Settings) -> Result<()> {
    let tokens = open(settings).await?.tokens().await?;
    match format {
        Format::Json => {
            let tokens: Vec<_> = tokens.iter().map(described).collect();
            print_json(&tokens)
        }
        Format::Human if tokens.is_empty() => {
            show("there is no token: a gateway on 127.0.0.1 asks for none\n")
        }
        Format::Human => {
            let lines: Vec<String> = tokens.iter().map(line).collect();
            show(&format!("{}\n", lines.join("\n")))
        }
    }
}

fn described(token: &StoredToken) -> serde_json::Value {
    json!({
        "id": token.id,
        "name": token.name,
        "tenant": token.tenant,
        "scopes": token.scopes.to_string(),
        "created_at": token.created_at,
        "expires_at": token.expires_at.map(shown),
        "revoked_at": token.revoked_at,
    })
}

fn line(token: &StoredToken) -> String {
    let state = match (&token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(end)) if end <= OffsetDateTime::now_utc() => format!("expired {}", shown(end)),
        (None, Some(end)) => format!("until {}", shown(end)),
        (None, None) => "valid".to_owned(),
    };
    format!(
        "{}  {}  {}  {state}  {}",
        token.id, token.tenant, token.scopes, token.name
    )
    .trim_end()
    .to_owned()
}

fn shown(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// Reads when a token ends: `30d` or `12h` from now, or the end of a day or an instant in UTC.
fn end_of(text: &str) -> Result<OffsetDateTime> {
    let wrong = || {
        Error::new(ErrorKind::Usage, "--expires is no time to come")
            .hint("write 30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z")
    };
    let now = OffsetDateTime::now_utc();
    let span = |unit: char| text.strip_suffix(unit)?.parse::<u32>().ok();
    let end = if let Some(days) = span('d') {
        now.checked_add(Duration::days(i64::from(days)))
    } else if let Some(hours) = span('h') {
        now.checked_add(Duration::hours(i64::from(hours)))
    } else if let Ok(instant) = OffsetDateTime::parse(text, &Rfc3339) {
        Some(instant)
    } else {
        let format = time::macros::format_description!("[year]-[month]-[day]");
        let day = Date::parse(text, format).ok();
        day.and_then(Date::next_day)
            .map(|next| next.midnight().assume_utc())
    };
    let end = end.and_then(|end| end.replace_nanosecond(0).ok());
    end.filter(|end| *end > now).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_in_four_forms() {
        let now = OffsetDateTime::now_utc();
        let after = |text: &str| end_of(text).unwrap() - now;
        assert!(after("30d") > Duration::days(29) && after("30d") <= Duration::days(30));
        assert!(after("12h") > Duration::hours(11) && after("12h") <= Duration::hours(12));
        assert_eq!(shown(end_of("9998-12-30").unwrap()), "9998-12-31T00:00:00Z");
        let instant = "9998-01-01T12:00:00Z";
        assert_eq!(shown(end_of(instant).unwrap()), instant);
        for wrong in [
            "",
            "d",
            "0h",
            "-1d",
            "2020-01-01",
            "tomorrow",
            "1w",
            "4294967295d",
        ] {
            assert!(end_of(wrong).is_err(), "{wrong}");
        }
    }
}
