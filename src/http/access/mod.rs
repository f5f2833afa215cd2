//! Who may pass: a token a request, its tenant and scopes, and how often.
//!
//! ```text
//! request ─► two Authorization headers? 400
//!         ─► an open route ───────────────────────────────────────────► route
//!         ─► no token in the store ─► loopback: tenant `local`, all ──► run of the tenant? ─► route
//!         ─► none or a wrong one shown: 401, too many of them: 429
//!         ─► more requests than its rate: 429
//!         ─► its scopes do not hold the route's: 403
//!         ─► another tenant's run: 404, as a run that is not there ───► route
//! ```
//!
//! 1. [`book`] holds the tokens of the store for a second; [`rate`] counts.
//! 2. [`routes`] says what each route needs.
//! 3. [`authorize`] decides; a route reads who asks as its [`Access`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use uuid::Uuid;

use super::jobs;
use super::problem::Problem;
use crate::access::{LOCAL, Scope, Scopes, ShownToken};
use crate::allowed::Allowed;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::AccessSettings;
use crate::store::Store;

pub mod book;
pub mod rate;
pub mod routes;

use book::{Book, Token};
use rate::Rate;
use routes::Need;

/// Wrong tokens a minute of one address that are answered as such.
const WRONG_A_MINUTE: u32 = 30;

/// How often a stream that is open looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Access {
    door: Door,
    /// The token that was shown; none where nobody has to show one.
    token: Option<Arc<Token>>,
}

impl Access {
    /// Gives the tenant whose runs are meant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.token.as_ref().map_or(LOCAL, |token| &token.tenant)
    }

    /// Says whether a scope is allowed.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        let token = self.token.as_ref();
        token.is_none_or(|token| token.scopes.allow(scope))
    }

    /// Gives the name of who asks, as whoever made the token wrote it; none where nobody has to show one.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(match token.name.as_str() {
            "" => format!("token {}", token.id),
            name => name.to_owned(),
        })
    }

    /// Waits until who was let in would be let in no more: the token was revoked or is over, or the first one was made.
    pub async fn ended(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let inner = &self.door.0;
            let holds = inner.book.tokens(&inner.store).await.map(|tokens| {
                let token = self.token.as_ref();
                token.map_or(tokens.is_empty(), |token| tokens.still_has(token))
            });
            match holds {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Who comes back is asked again.
                    tracing::warn!(%error, "a stream is ended: its token cannot be looked up");
                    return;
                }
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route that nobody was let through to is a fault of relvec, and is closed.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "nobody was asked who asks"))
    }
}

/// The address that a request came from, as the socket says.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What decides who passes. Clones share it.
#[derive(Debug, Clone)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    allowed: Allowed,
    /// Whether only programs of this machine reach the gateway.
    loopback: bool,
    book: Book,
    requests: Rate<String>,
    wrong: Rate<IpAddr>,
}

impl Door {
    /// Makes what decides who passes at an address, and makes the rules of jobs binding where it has to.
    ///
    /// # Errors
    /// The address is not loopback and there is no token, or the store cannot be read.
    pub async fn open(
        store: Store,
        settings: &AccessSettings,
        allowed: Allowed,
        address: IpAddr,
    ) -> Result<Self> {
        let loopback = address.is_loopback();
        let door = Self(Arc::new(Inner {
            store,
            allowed,
            loopback,
            book: Book::default(),
            requests: Rate::a_second(settings.rate),
            wrong: Rate::a_minute(WRONG_A_MINUTE),
        }));
        let tokens = door.0.book.tokens(&door.0.store).await?;
        if !loopback && !tokens.has_usable() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("the gateway does not listen on {address} without access tokens: everybody who reaches it could use it"),
            )
            .hint("make one: relvec token create --tenant NAME --scope submit,read,answer")
            .hint("or listen on 127.0.0.1, and reach it through an SSH tunnel"));
        }
        if !loopback || !tokens.is_empty() {
            door.0.allowed.bind();
        }
        Ok(door)
    }

    /// Decides about a request, by what its route needs.
    async fn admit(&self, parts: &Parts, need: Option<Need>) -> Result<Access, Problem> {
        let inner = &self.0;
        let shown = bearer(&parts.headers)?;
        let tokens = inner.book.tokens(&inner.store).await?;
        if tokens.is_empty() && inner.loopback {
            return Ok(self.access(None));
        }
        inner.allowed.bind();
        let Some(shown) = shown else {
            return Err(unknown("a token is needed here", None));
        };
        let known = ShownToken::read(&shown);
        let Some(token) = known.and_then(|shown| tokens.find(&shown).cloned()) else {
            let peer = parts.extensions.get::<Peer>();
            let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| *peer);
            // A token that is known passes all the same: behind a proxy, everybody has one address.
            inner
                .wrong
                .check(&peer)
                .map_err(|wait| too_many("this address shows too many wrong tokens", wait))?;
            return Err(unknown(
                "the token is not known, was revoked, or is expired",
                Some("invalid_token"),
            ));
        };
        inner
            .requests
            .check(&token.id)
            .map_err(|wait| too_many("this token asks too often", wait))?;
        check_scope(&token.scopes, need)?;
        Ok(self.access(Some(token)))
    }

    fn access(&self, token: Option<Arc<Token>>) -> Access {
        let door = self.clone();
        Access { door, token }
    }
}

fn check_scope(scopes: &Scopes, need: Option<Need>) -> Result<(), Problem> {
    let scope = match need {
        // Nothing is there, which everybody with a token may learn.
        None | Some(Need::Nothing | Need::More(_)) => return Ok(()),
        Some(Need::Scope(scope)) => scope,
    };
    if scopes.allow(scope) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!("the token does not have the scope `{}`", scope.name()),
    )
    .hint("ask whoever runs the gateway for a token with it"))
}

/// Lets a request through to its route, or says why not.
pub async fn authorize(State(door): State<Door>, request: Request, next: Next) -> Response {
    let need = request
        .extensions()
        .get::<MatchedPath>()
        .and_then(|path| routes::need(request.method(), path.as_str()));
    match pass(&door, request, need).await {
        Ok(request) => next.run(request).await,
        Err(problem) => refusal(problem, need),
    }
}

async fn pass(door: &Door, request: Request, need: Option<Need>) -> Result<Request, Problem> {
    // However open a route is, two tokens are one too many.
    bearer(request.headers())?;
    if need == Some(Need::Nothing) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let access = match door.admit(&parts, need).await {
        Ok(access) => access,
        // Who is let in by nobody is told what everybody is.
        Err(_) if matches!(need, Some(Need::More(_))) => {
            return Ok(Request::from_parts(parts, body));
        }
        Err(problem) => return Err(problem),
    };
    if access.token.is_some()
        && let Some(run_id) = run_of(&mut parts).await?
    {
        door.0.store.run_of(access.tenant(), run_id).await?;
    }
    parts.extensions.insert(access);
    Ok(Request::from_parts(parts, body))
}

/// Gives the run that a path names. What is no id names no run, whatever its route would make of it.
async fn run_of(parts: &mut Parts) -> Result<Option<Uuid>, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await;
    let Ok(parameters) = parameters else {
        // A path that matched no route has no parameters.
        return if parts.extensions.get::<MatchedPath>().is_some() {
            let message = "the path is not UTF-8 after its percent-encoding is undone";
            Err(Problem::new(StatusCode::BAD_REQUEST, message))
        } else {
            Ok(None)
        };
    };
    let mut named = parameters.iter().filter(|(name, _)| *name == "run_id");
    // An archive's address is that of its run and an ending.
    let run = |(_, value): (&str, &str)| jobs::id(value.strip_suffix(".tar.gz").unwrap_or(value));
    named.next().map(run).transpose()
}

/// Reads the one token that a request may show.
fn bearer(headers: &HeaderMap) -> Result<Option<SecretString>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        let message = "a request has one Authorization header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, message));
    }
    let token = first
        .and_then(|value| value.to_str().ok())
        .and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
    // What is no bearer token is a wrong one.
    let token = token.or_else(|| first.map(|_| ""));
    Ok(token.map(SecretString::from))
}

fn unknown(detail: &str, error: Option<&str>) -> Problem {
    let challenge = error.map_or_else(
        || "Bearer realm=\"relvec\"".to_owned(),
        |error| format!("Bearer realm=\"relvec\", error=\"{error}\""),
    );
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .hint("send it as `Authorization: Bearer TOKEN`; `relvec token create` makes one")
        .header(header::WWW_AUTHENTICATE, &challenge)
}

fn too_many(detail: &str, wait: Duration) -> Problem {
    // Never 0, which would be an invitation.
    let seconds = wait.as_secs().saturating_add(1).to_string();
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).header(header::RETRY_AFTER, &seconds)
}

/// Adds what RFC 6750 wants with a 403.
fn refusal(problem: Problem, need: Option<Need>) -> Response {
    let mut response = problem.into_response();
    if let (StatusCode::FORBIDDEN, Some(Need::Scope(scope))) = (response.status(), need) {
        let challenge = challenge_of(scope);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn challenge_of(scope: Scope) -> HeaderValue {
    HeaderValue::from_static(match scope {
        Scope::Submit => "Bearer realm=\"relvec\", error=\"insufficient_scope\", scope=\"submit\"",
        Scope::Read => "Bearer realm=\"relvec\", error=\"insufficient_scope\", scope=\"read\"",
        Scope::Answer => "Bearer realm=\"relvec\", error=\"insufficient_scope\", scope=\"answer\"",
        Scope::Admin => "Bearer realm=\"relvec\", error=\"insufficient_scope\", scope=\"admin\"",
        Scope::Metrics => {
            "Bearer realm=\"relvec\", error=\"insufficient_scope\", scope=\"metrics\""
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn token(values: &[&str]) -> Option<String> {
        use secrecy::ExposeSecret as _;
        let token = bearer(&headers(values)).unwrap()?;
        Some(token.expose_secret().to_owned())
    }

    #[test]
    fn the_header_is_read_as_rfc_6750_has_it() {
        assert_eq!(token(&[]), None);
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bearer  abc "]).as_deref(), Some("abc"));
        for wrong in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(token(&[wrong]).as_deref(), Some(""), "{wrong}");
        }
        assert!(bearer(&headers(&["Bearer a", "Bearer a"])).is_err());
    }
}
