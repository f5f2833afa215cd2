//! Requests that depend on what the client has: `If-None-Match`, `Range` and `If-Range` (RFC 9110, sections 13 and 14).

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// What is tagged may be kept, and has to be asked for before it is used again. It is for who asked only.
const CACHING: &str = "private, no-cache";

/// Gives a strong entity tag of a hash.
#[must_use]
pub fn tag(hash: &str) -> String {
    format!("\"{hash}\"")
}

/// Says whether a request names the tag, or any with `*`, in `If-None-Match`. Tags are compared weakly, as the RFC wants it here.
#[must_use]
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .any(|line| line.trim() == "*" || tags(line).any(|known| known == opaque(tag)))
}

/// Gives the opaque parts, quotes included, of a list of entity tags. What is none ends the list.
fn tags(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quoted = rest.strip_prefix("W/").unwrap_or(rest);
        let inside = quoted.strip_prefix('"')?;
        let end = inside.find('"')?;
        rest = &inside[end + 1..];
        Some(&quoted[..end + 2])
    })
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Answers with what a tag stands for, or with 304 where the client has it.
#[must_use]
pub fn answer(
    headers: &HeaderMap,
    tag: &str,
    more: &[(HeaderName, String)],
    content_type: &str,
    body: impl Into<Body>,
) -> Response {
    let mut response = if is_known(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = [(header::CONTENT_TYPE, content_type)];
        (content_type, body.into()).into_response()
    };
    let own = [
        (header::ETAG, tag.to_owned()),
        (header::CACHE_CONTROL, CACHING.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    for (name, value) in own.into_iter().chain(more.iter().cloned()) {
        // Made of hashes, names and constants: what is no header value would be a fault, and is left out.
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Answers as [`answer`] does, or with the one part of the bytes that `Range` asks for.
///
/// # Errors
/// The range lies behind the end.
pub fn answer_part(
    headers: &HeaderMap,
    tag: &str,
    more: &[(HeaderName, String)],
    content_type: &str,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let length = bytes.len() as u64;
    let part = if is_known(headers, tag) {
        Part::Whole
    } else {
        part(headers, tag, length)
    };
    let mut more = more.to_vec();
    more.push((header::ACCEPT_RANGES, "bytes".to_owned()));
    match part {
        Part::Whole => Ok(answer(headers, tag, &more, content_type, bytes)),
        Part::Slice(first, last) => {
            let range = format!("bytes {first}-{last}/{length}");
            more.push((header::CONTENT_RANGE, range));
            let (from, to) = (index(first), index(last) + 1);
            let slice = bytes.slice(from..to);
            let mut response = answer(headers, tag, &more, content_type, slice);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            Ok(response)
        }
        Part::Behind => Err(Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the file has {length} bytes, and the range begins behind them"),
        )
        .header(header::CONTENT_RANGE, &format!("bytes */{length}"))),
    }
}

/// A place in bytes that are in memory.
fn index(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// All of it: nothing less is asked for, or in a way that is not understood.
    Whole,
    /// From the first of these bytes to the last.
    Slice(u64, u64),
    /// What is asked for lies behind the end.
    Behind,
}

fn part(headers: &HeaderMap, tag: &str, length: u64) -> Part {
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Part::Whole;
    };
    if let Some(condition) = headers.get(header::IF_RANGE)
        && condition.as_bytes() != tag.as_bytes()
    {
        return Part::Whole;
    }
    line.to_str()
        .ok()
        .and_then(|line| asked(line, length))
        .unwrap_or(Part::Whole)
}

/// Reads a range; none where it is not of bytes, is several, or is malformed: such a header is ignored.
fn asked(line: &str, length: u64) -> Option<Part> {
    let (unit, set) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        let suffix = suffix.min(length);
        return Some(match (suffix, length) {
            (0, _) => Part::Behind,
            (_, _) => Part::Slice(length - suffix, length - 1),
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    if first >= length {
        return Some(Part::Behind);
    }
    Some(Part::Slice(first, last.min(length - 1)))
}

/// Digits alone: `parse` would take a sign as well. A number beyond all lengths counts as the greatest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_tag_is_found_in_lists_weak_or_not() {
        for known in [
            &["\"a,b\""][..],
            &["W/\"a,b\""],
            &["\"x\", W/\"y\" , \"a,b\""],
            &["\"x\"", "\"a,b\""],
            &["*"],
            &[" * "],
        ] {
            let headers = headers(&header::IF_NONE_MATCH, known);
            assert!(is_known(&headers, "\"a,b\""), "{known:?}");
        }
        for other in [&["\"a\""][..], &["a,b"], &["\"a,b"], &["b\", \"x\""], &[]] {
            let headers = headers(&header::IF_NONE_MATCH, other);
            assert!(!is_known(&headers, "\"a,b\""), "{other:?}");
        }
    }

    #[test]
    fn ranges_are_one_part_or_ignored() {
        for (line, wanted) in [
            ("bytes=0-3", Part::Slice(0, 3)),
            ("bytes=2-", Part::Slice(2, 9)),
            ("bytes=-4", Part::Slice(6, 9)),
            ("bytes=-40", Part::Slice(0, 9)),
            ("bytes=9-99999999999999999999", Part::Slice(9, 9)),
            ("BYTES=0-0", Part::Slice(0, 0)),
            ("bytes=10-", Part::Behind),
            ("bytes=99999999999999999999-", Part::Behind),
            ("bytes=-0", Part::Behind),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("nonsense", Part::Whole),
        ] {
            let headers = headers(&header::RANGE, &[line]);
            assert_eq!(part(&headers, "\"t\"", 10), wanted, "{line}");
        }
        let two = headers(&header::RANGE, &["bytes=0-1", "bytes=2-3"]);
        assert_eq!(part(&two, "\"t\"", 10), Part::Whole);
        let empty = headers(&header::RANGE, &["bytes=-1"]);
        assert_eq!(part(&empty, "\"t\"", 0), Part::Behind);
    }

    #[test]
    fn a_part_of_what_changed_is_the_whole() {
        let mut headers = headers(&header::RANGE, &["bytes=0-1"]);
        for (condition, wanted) in [
            ("\"t\"", Part::Slice(0, 1)),
            ("W/\"t\"", Part::Whole),
            ("\"other\"", Part::Whole),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Part::Whole),
        ] {
            headers.insert(header::IF_RANGE, condition.parse().unwrap());
            assert_eq!(part(&headers, "\"t\"", 10), wanted, "{condition}");
        }
    }
}
