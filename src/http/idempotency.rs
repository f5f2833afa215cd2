//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): makes a request safe to repeat.
//!
//! The draft has a structured-field string, `"k1"` (RFC 9651, section 3.3.3). A bare `k1` is taken as well, and is the same key.

use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;

/// The header's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The most characters of a key.
const MOST_CHARS: usize = 200;

/// Reads the caller's key, if there is one.
///
/// # Errors
/// It is given twice, is neither a quoted string nor visible ASCII characters, or is too long.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, second) = (lines.next(), lines.next());
    let Some(first) = first else {
        return Ok(None);
    };
    let key = first.to_str().ok().and_then(parse);
    key.filter(|key| second.is_none() && (1..=MOST_CHARS).contains(&key.len()))
        .map(Some)
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!(
                    "Idempotency-Key is given once, as a quoted string of 1 to {MOST_CHARS} characters"
                ),
            )
            .hint("for instance Idempotency-Key: \"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
        })
}

fn parse(line: &str) -> Option<String> {
    let line = line.trim_matches(' ');
    let Some(inside) = line.strip_prefix('"') else {
        let is_bare = line
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"');
        return is_bare.then(|| line.to_owned());
    };
    let mut key = String::new();
    let mut rest = inside.chars();
    loop {
        match rest.next()? {
            '"' => break,
            '\\' => key.push(
                rest.next()
                    .filter(|escaped| matches!(escaped, '"' | '\\'))?,
            ),
            plain @ ' '..='~' => key.push(plain),
            _ => return None,
        }
    }
    // Parameters say nothing about a key; what else follows is malformed.
    let rest = rest.as_str().trim_start_matches(' ');
    (rest.is_empty() || rest.starts_with(';')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IDEMPOTENCY_KEY, line.parse().unwrap());
        }
        key(&headers).map_err(|problem| problem.status())
    }

    #[test]
    fn a_quoted_key_and_a_bare_one_are_the_same() {
        assert_eq!(read(&[]), Ok(None));
        for line in ["k1", "\"k1\"", " \"k1\" ", "\"k1\";a=1"] {
            assert_eq!(read(&[line]), Ok(Some("k1".to_owned())), "{line}");
        }
        let escaped = read(&["\"a \\\"b\\\\\""]);
        assert_eq!(escaped, Ok(Some("a \"b\\".to_owned())));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (longest, long) = ("k".repeat(200), "k".repeat(201));
        assert_eq!(read(&[&longest]), Ok(Some(longest.clone())));
        for line in [
            "", "\"\"", "\"k1", "k1\"", "a b", "\"a\\b\"", "\"a\" b", "\"a\tb\"", &long,
        ] {
            assert_eq!(read(&[line]), Err(400), "{line}");
        }
        assert_eq!(read(&["k1", "k1"]), Err(400));
    }
}
