//! Sample values as JSON: what JSON cannot hold arrives tagged, never as an error.

use serde_json::{Number, Value, json};

/// Most characters of a sampled text.
pub(super) const TEXT_LIMIT: u32 = 2000;
const ALL_TABLES: usize = 256 << 20;
const ONE_TABLE: usize = 8 << 20;

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

/// A text, cut; what is not UTF-8 or has NUL in it is tagged.
pub(super) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => json!({"$type": "text_with_nul", "value": cut(text)}),
        Ok(text) => Value::String(cut(text).to_owned()),
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            json!({"$type": "invalid_utf8", "value": cut(&text)})
        }
    }
}

/// A day or an instant; what no calendar has is tagged: infinity, and MySQL's zero dates.
pub(super) fn instant(data_type: &str, bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let part = |from, to| text.get(from..to);
    let zero = part(0, 5) == Some("0000-")
        || part(4, 7) == Some("-00")
        || (part(4, 5) == Some("-") && part(7, 10) == Some("-00"));
    if text.ends_with("infinity") || zero {
        json!({"$type": data_type, "value": text})
    } else {
        self::text(bytes)
    }
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(TEXT_LIMIT as usize);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Most bytes of a table's sample, so that many wide tables do not fill the memory.
pub(super) fn budget(tables: usize) -> usize {
    (ALL_TABLES / tables.max(1)).clamp(ONE_TABLE / 64, ONE_TABLE)
}

/// Leaves rows out, at equal distances, until the rest fits; one row always stays.
pub(super) fn within(rows: Vec<Vec<Value>>, bytes: usize) -> Vec<Vec<Value>> {
    let size: usize = rows.iter().flatten().map(size).sum();
    let step = size.div_ceil(bytes).max(1);
    rows.into_iter().step_by(step).collect()
}

fn size(value: &Value) -> usize {
    let text = match value {
        Value::String(text) => text.len(),
        Value::Object(tagged) => tagged
            .get("value")
            .and_then(Value::as_str)
            .map_or(0, str::len),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    };
    text + size_of::<Value>()
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
        assert_eq!(text(b"a\0b")["$type"], "text_with_nul");
        for odd in [
            "infinity",
            "-infinity",
            "0000-00-00",
            "2024-00-00",
            "2024-05-00 12:00:00",
        ] {
            assert_eq!(
                instant("date", odd.as_bytes()),
                json!({"$type": "date", "value": odd})
            );
        }
        for plain in [
            "2024-10-20",
            "0044-03-15 BC",
            "294276-12-31 23:59:59",
            "12000-10-01",
        ] {
            assert_eq!(instant("timestamp", plain.as_bytes()), json!(plain));
        }
    }

    #[test]
    fn long_values_and_large_samples_are_cut() {
        let long = "é".repeat(3000);
        assert_eq!(text(long.as_bytes()), json!("é".repeat(2000)));
        let row = |number: usize| vec![json!(number), json!("x".repeat(1000))];
        let rows: Vec<_> = (0..100).map(row).collect();
        let kept = within(rows.clone(), 30_000);
        let numbers: Vec<u64> = kept.iter().filter_map(|row| row[0].as_u64()).collect();
        assert!(
            (20..=30).contains(&numbers.len()) && numbers[numbers.len() - 1] > 90,
            "{numbers:?}"
        );
        assert_eq!(within(rows.clone(), 1).len(), 1);
        assert_eq!(within(rows.clone(), budget(1)), rows);
        assert!(budget(5000) >= 100_000);
    }
}
