//! Sample values as JSON: what JSON cannot hold arrives tagged, never as an error.

use serde_json::{Number, Value, json};

/// Most characters of a sampled text.
pub(super) const TEXT_LIMIT: u32 = 2000;

/// A byte string, of which only the length is kept.
pub(super) fn bytes(length: u64) -> Value {
    json!({"$type": "bytes", "length": length})
}

/// A number with a fraction; what is not finite is tagged.
pub(super) fn float(text: &str) -> Value {
    text.parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .map_or_else(|| json!({"$type": "float", "value": text}), Value::Number)
}

/// A whole number; what 64 bits cannot hold stays text.
pub(super) fn integer(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| Value::String(text.to_owned()), Value::from)
}

/// A text; what is not UTF-8 is tagged.
pub(super) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({"$type": "invalid_utf8", "value": String::from_utf8_lossy(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_are_tagged() {
        assert_eq!(float("1.5"), json!(1.5));
        assert_eq!(float("NaN"), json!({"$type": "float", "value": "NaN"}));
        assert_eq!(float("Infinity")["$type"], "float");
        assert_eq!(integer("-3"), json!(-3));
        assert_eq!(
            integer("99999999999999999999"),
            json!("99999999999999999999")
        );
        assert_eq!(text(b"a\xff")["$type"], "invalid_utf8");
        assert_eq!(text("é".as_bytes()), json!("é"));
    }
}
