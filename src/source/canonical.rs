//! The content hash and the id of a chunk, as the module doc of [`crate::model::plan`] defines them.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Gives the content hash of a chunk: 32 bytes.
#[must_use]
pub fn content_hash<'a>(
    chunk_text: &str,
    metadata: impl IntoIterator<Item = Option<&'a [u8]>>,
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    add(&mut hasher, Some(chunk_text.as_bytes()));
    for value in metadata {
        add(&mut hasher, value);
    }
    hasher.finalize().into()
}

/// Gives the hash that a row without a key is known by: 64 lower-case hexadecimal digits.
#[must_use]
pub fn row_hash(row: &[Option<Vec<u8>>]) -> String {
    let mut hasher = Sha256::new();
    for value in row {
        add(&mut hasher, value.as_deref());
    }
    hex(hasher)
}

/// Gives the id of a chunk, counted from 0.
#[must_use]
pub fn chunk_id<'a>(entity: &str, key: impl IntoIterator<Item = &'a [u8]>, chunk: u64) -> Uuid {
    let mut hasher = Sha256::new();
    add(&mut hasher, Some(entity.as_bytes()));
    for value in key {
        add(&mut hasher, Some(value));
    }
    add(&mut hasher, Some(chunk.to_string().as_bytes()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    Uuid::new_v8(bytes)
}

/// Gives the shortest decimal that reads back as the same number, as Python's `repr` writes it.
#[must_use]
pub fn real(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Trims the six characters that the canonical document trims; nothing if nothing is left.
#[must_use]
pub fn trimmed(value: &str) -> Option<&str> {
    let value = value.trim_matches(['\t', '\n', '\x0b', '\x0c', '\r', ' ']);
    (!value.is_empty()).then_some(value)
}

fn add(hasher: &mut Sha256, value: Option<&[u8]>) {
    match value {
        Some(text) => {
            hasher.update(b"T");
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        None => hasher.update(b"N"),
    }
}

fn hex(hasher: Sha256) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = hasher.finalize();
    let halves = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .map(|half| char::from(DIGITS[usize::from(half)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_ids_are_those_of_the_test_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/canonical.json"))
                .expect("JSON");
        let texts = |value: &serde_json::Value| -> Vec<Option<String>> {
            let values = value.as_array().expect("values").iter();
            values
                .map(|value| value.as_str().map(str::to_owned))
                .collect()
        };
        let (hashes, ids) = (&vectors["hashes"], &vectors["ids"]);
        for vector in hashes.as_array().expect("hashes") {
            let metadata = texts(&vector["metadata"]);
            let metadata = metadata
                .iter()
                .map(|text| text.as_deref().map(str::as_bytes));
            let hash = content_hash(vector["text"].as_str().expect("text"), metadata);
            assert_eq!(hash[..], unhex(vector["sha256"].as_str().expect("a hash")));
        }
        for vector in ids.as_array().expect("ids") {
            let key = texts(&vector["key"]);
            let key = key.iter().flatten().map(String::as_bytes);
            let chunk = vector["chunk"].as_u64().expect("a number");
            let id = chunk_id(vector["entity"].as_str().expect("a name"), key, chunk);
            assert_eq!(id.to_string(), vector["id"]);
        }
        let rows = vectors["rows"].as_array().expect("rows");
        assert!(rows.len() >= 8);
        for vector in rows {
            let row: Vec<Option<Vec<u8>>> = match vector.get("hex") {
                Some(hex) => texts(hex)
                    .iter()
                    .map(|hex| hex.as_deref().map(unhex))
                    .collect(),
                None => texts(&vector["values"])
                    .into_iter()
                    .map(|text| text.map(String::into_bytes))
                    .collect(),
            };
            let key = [
                row_hash(&row),
                vector["occurrence"].as_u64().expect("a number").to_string(),
            ];
            assert_eq!(key[0], vector["row"]);
            let key = key.iter().map(String::as_bytes);
            let id = chunk_id(vector["entity"].as_str().expect("a name"), key, 0);
            assert_eq!(id.to_string(), vector["id"]);
        }
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|pair| {
                let pair = std::str::from_utf8(pair).expect("ASCII");
                u8::from_str_radix(pair, 16).expect("a byte")
            })
            .collect()
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let some = |text: &'static str| Some(text.as_bytes());
        let hashes = [
            content_hash("a", []),
            content_hash("a", [None]),
            content_hash("a", [some("")]),
            content_hash("", [some("a")]),
            content_hash("x0", [some("y")]),
            content_hash("x", [some("0y")]),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[index + 1..].contains(hash));
        }
    }

    #[test]
    fn ids_are_of_version_8() {
        let id = chunk_id("orders", [b"1".as_slice()], 0);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_ne!(id, chunk_id("orders", [b"1".as_slice()], 1));
        assert_ne!(id, chunk_id("orders", [b"10".as_slice()], 0));
    }

    #[test]
    fn trims_ascii_blanks_only() {
        assert_eq!(trimmed(" \t a b\r\n"), Some("a b"));
        assert_eq!(trimmed("\u{a0}"), Some("\u{a0}"));
        assert_eq!(trimmed(" \x0b\x0c "), None);
    }

    #[test]
    fn a_real_is_written_as_python_writes_it() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (12.5, "12.5"),
            (98.610_475_148_940_8, "98.6104751489408"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.25e-7, "-1.25e-07"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(real(number), text);
        }
    }
}
