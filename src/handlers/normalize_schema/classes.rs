//! What a single value looks like: the narrow forms first, so that a word is what none of them is.
//!
//! Numbers that identify somebody are told from other numbers by their check digits where their standard has them.

use serde_json::Value;

use super::lexicon::Words;
use crate::model::schema_context::ValueClass;

/// What one value looks like, blanks around it taken away.
pub(super) fn class_of(value: &str) -> ValueClass {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let single = !value.contains(char::is_whitespace);
    if value.contains('\u{0}') {
        ValueClass::Mixed
    } else if is_email(value) {
        ValueClass::Email
    } else if single && is_url(value) {
        ValueClass::Url
    } else if uuid::Uuid::try_parse(value).is_ok() && value.len() == 36 {
        ValueClass::Uuid
    } else if is_date(value) {
        ValueClass::Date
    } else if is_personal(value, digits) {
        ValueClass::Personal
    } else if is_number(value) {
        ValueClass::Number
    } else if is_phone(value, digits) {
        ValueClass::Phone
    } else if single && is_base64(value) {
        ValueClass::Base64
    } else if single && is_token(value) {
        ValueClass::Hash
    } else if value.starts_with(['{', '['])
        && serde_json::from_str::<Value>(value)
            .is_ok_and(|json| json.is_object() || json.is_array())
    {
        ValueClass::Json
    } else if is_html(value) {
        ValueClass::Html
    } else if is_street(value, digits) {
        ValueClass::Address
    } else if is_code(value, single, digits) {
        ValueClass::Code
    } else if word_count(value) >= 6 && language(value) >= 0.4 {
        ValueClass::Prose
    } else if value.chars().any(char::is_alphabetic) {
        ValueClass::Phrase
    } else {
        ValueClass::Mixed
    }
}

/// Scripts without spaces count two characters as a word.
pub(super) fn word_count(text: &str) -> usize {
    let unspaced = text.chars().filter(|&c| is_unspaced(c)).count();
    text.split_whitespace().count() + unspaced / 2
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// How much a text looks like natural language, 0 to 1: word-like tokens, and enough of them.
pub(super) fn language(text: &str) -> f64 {
    word_share(text) * (1.0 - (-count(word_count(text)) / 4.0).exp())
}

/// The share of tokens that look like words.
fn word_share(text: &str) -> f64 {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let word_like = tokens.iter().filter(|token| is_word_like(token)).count();
    count(word_like) / count(tokens.len().max(1))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sample sizes are far below 2^52"
)]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

fn is_word_like(token: &str) -> bool {
    let core = token.trim_matches(|c: char| !c.is_alphanumeric());
    let letters = core.chars().filter(|c| c.is_alphabetic()).count();
    let inner = core
        .chars()
        .all(|c| c.is_alphabetic() || matches!(c, '\'' | '’' | '-'));
    // Four consonants in a row are a code, in the alphabets that have vowels to look for.
    let sayable = letters < 4
        || !core.is_ascii()
        || core
            .chars()
            .any(|c| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y'));
    letters > 0
        && sayable
        && (inner || letters * 4 > core.chars().count() * 3)
        && core.chars().count() <= 40
}

fn is_email(value: &str) -> bool {
    let value = value.trim_start_matches('<').trim_end_matches('>');
    let Some((local, domain)) = value.split_once('@') else {
        return false;
    };
    let blank = value.contains(char::is_whitespace) || domain.contains('@');
    !local.is_empty() && !blank && domain.contains('.') && !domain.ends_with('.')
}

fn is_url(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    [
        "http://", "https://", "ftp://", "sftp://", "www.", "s3://", "gs://", "mailto:", "file://",
    ]
    .iter()
    .any(|start| lower.starts_with(start))
}

/// `2024-01-31`, `31.01.2024`, `01/31/2024` or `20240131`; the first also with a time.
fn is_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u32> { value.get(range)?.parse().ok() };
    let separator = |at: usize, of: &[u8]| bytes.get(at).is_some_and(|byte| of.contains(byte));
    let plain = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let year_first = plain(0..4)
        && separator(4, b"-/")
        && plain(5..7)
        && separator(7, b"-/")
        && plain(8..10)
        && bytes.len() <= 35
        && !bytes.iter().skip(11).any(u8::is_ascii_lowercase);
    let year_last = bytes.len() == 10
        && plain(0..2)
        && separator(2, b"./-")
        && plain(3..5)
        && separator(5, b"./-")
        && plain(6..10);
    let compact = bytes.len() == 8
        && plain(0..8)
        && number(0..4).is_some_and(|year| (1900..=2100).contains(&year))
        && number(4..6).is_some_and(|month| (1..=12).contains(&month))
        && number(6..8).is_some_and(|day| (1..=31).contains(&day));
    year_first || year_last || compact
}

/// Digits, with a decimal point or comma and groups of thousands, a sign, a percent sign.
fn is_number(value: &str) -> bool {
    let core = value
        .trim_end_matches(['%', ' '])
        .trim_start_matches(['-', '+']);
    let marks = |c: char| matches!(c, '.' | ',');
    let (whole, fraction) = core.rsplit_once(marks).unwrap_or((core, "0"));
    let mut groups = whole.split(marks);
    let first = groups.next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = digits(first) && groups.all(|group| group.len() == 3 && digits(group));
    grouped && digits(fraction) || value.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Card numbers, IBANs, social security and tax numbers of persons, network addresses.
fn is_personal(value: &str, digits: usize) -> bool {
    is_card_number(value, digits)
        || is_iban(value)
        || is_national_number(value)
        || is_vat_number(value)
        || value.parse::<std::net::IpAddr>().is_ok()
}

/// 13 to 19 digits of a card's issuer whose check digit is right, by ISO/IEC 7812.
fn is_card_number(value: &str, digits: usize) -> bool {
    let plain = value
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'));
    if !plain || !(13..=19).contains(&digits) || !value.starts_with(['2', '3', '4', '5', '6']) {
        return false;
    }
    let sum: u32 = value
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// By ISO 13616: the first four characters behind the others, letters as numbers, 1 modulo 97.
fn is_iban(value: &str) -> bool {
    let compact: String = value.chars().filter(|c| *c != ' ').collect();
    let bytes = compact.as_bytes();
    let shaped = (15..=34).contains(&bytes.len())
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit);
    if !shaped {
        return false;
    }
    let turned = compact[4..].chars().chain(compact[..4].chars());
    let rest = turned
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, digit| {
            let shift = if digit > 9 { 100 } else { 10 };
            (rest * shift + digit) % 97
        });
    rest == 1
}

/// `123-45-6789` (United States), `12345678Z` and `X1234567L` (Spain), `65 170839 J 003` (Germany).
fn is_national_number(value: &str) -> bool {
    let compact: String = value.chars().filter(|c| *c != ' ').collect();
    let mask: String = compact
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            'A'..='Z' => 'A',
            other => other,
        })
        .collect();
    match mask.as_str() {
        "999-99-9999" | "99999999A999" => true,
        "99999999A" | "99999999-A" => has_spanish_letter(&compact),
        "A9999999A" | "A9999999-A" => match compact.as_bytes()[0] {
            first @ b'X'..=b'Z' => {
                has_spanish_letter(&format!("{}{}", first - b'X', &compact[1..]))
            }
            _ => false,
        },
        _ => false,
    }
}

/// The check letter of a Spanish identity card: the number modulo 23.
fn has_spanish_letter(text: &str) -> bool {
    let letter = text.chars().last();
    let number = text
        .get(..8)
        .and_then(|digits| digits.parse::<usize>().ok());
    number.is_some_and(|number| "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(number % 23) == letter)
}

/// The prefix of a country of the European Union or of the United Kingdom, and as many digits as are usual there.
fn is_vat_number(value: &str) -> bool {
    let Some((country, rest)) = value.split_at_checked(2) else {
        return false;
    };
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    let plain = digits == rest.len();
    match country {
        "DE" | "PT" => plain && digits == 9,
        "GB" => plain && matches!(digits, 9 | 12),
        "IT" => plain && digits == 11,
        "BE" | "PL" => plain && digits == 10,
        "DK" | "FI" | "LU" => plain && digits == 8,
        "SE" => plain && digits == 12,
        "CZ" => plain && (8..=10).contains(&digits),
        "FR" => rest.len() == 11 && digits >= 9 && rest.bytes().all(|b| b.is_ascii_alphanumeric()),
        "AT" => rest.len() == 9 && rest.starts_with('U') && digits == 8,
        "NL" => rest.len() == 12 && rest.as_bytes()[9] == b'B' && digits == 11,
        "ES" => rest.len() == 9 && digits >= 7 && rest.bytes().all(|b| b.is_ascii_alphanumeric()),
        _ => false,
    }
}

/// Words and ends of words for ways that people live on.
static STREETS: Words = Words::new(
    "street st road rd avenue ave lane ln drive dr way court ct boulevard blvd place square terrace close crescent row gardens
    highway hwy rue calle c/ avenida avda av plaza paseo camino carretera ctra ronda via viale piazza corso quai chemin allée
    place",
);
static STREET_ENDS: Words = Words::new(
    "straße strasse str weg platz allee gasse ring damm ufer steig chaussee gatan straat",
);

/// `Hauptstr. 12`, `12 Baker Street`, `Calle Mayor, 5`: a number at an end and a word for a way.
fn is_street(value: &str, digits: usize) -> bool {
    let tokens: Vec<&str> = value.split_whitespace().collect();
    if !(2..=8).contains(&tokens.len()) || !(1..=9).contains(&digits) || value.chars().count() > 70
    {
        return false;
    }
    let lower = |token: &str| token.trim_matches([',', '.', ';']).to_lowercase();
    let number = |token: &&str| lower(token).starts_with(|c: char| c.is_ascii_digit());
    let numbered = tokens.first().is_some_and(number) || tokens.iter().skip(1).any(number);
    let way = tokens.iter().any(|token| {
        let word = lower(token);
        STREETS.has_exactly(&word)
            || STREET_ENDS
                .iter()
                .any(|end| word.ends_with(end) && (word.len() > end.len() + 2 || end == "straße"))
    });
    // Sentences begin with a capital and go on in small letters: in an address most words have one.
    let capitals = tokens
        .iter()
        .filter(|token| token.starts_with(char::is_uppercase))
        .count();
    numbered && way && capitals * 2 + 1 >= tokens.len()
}

/// International, with an area code, or grouped as people group them.
fn is_phone(value: &str, digits: usize) -> bool {
    let allowed =
        |c: char| c.is_ascii_digit() || matches!(c, ' ' | '+' | '-' | '(' | ')' | '.' | '/');
    if !(7..=15).contains(&digits) || !value.chars().all(allowed) {
        return false;
    }
    if value.starts_with('+') || (value.starts_with('(') && value.contains(')')) {
        return true;
    }
    let groups: Vec<usize> = value
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .filter(|length| *length > 0)
        .collect();
    let area = value.starts_with('0')
        && !value.starts_with("000")
        && (groups.len() > 1 && groups[0] <= 6 || digits >= 10);
    let grouped = matches!(
        groups.as_slice(),
        [3, 3, 3 | 4] | [1, 3, 3, 4] | [3, 4] | [3, 2, 2, 2] | [2, 3, 2, 2]
    );
    area || grouped
}

/// Bytes: padded at the end, a data URI, or too long for a token.
fn is_base64(value: &str) -> bool {
    if value.starts_with("data:") && value.contains(";base64,") {
        return true;
    }
    let core = value.trim_end_matches('=');
    let has = |test: fn(&char) -> bool| core.chars().any(|c| test(&c));
    let plain = core
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_'));
    let mixed =
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    let padded = core.len() < value.len() && value.len().is_multiple_of(4) && value.len() >= 16;
    plain && mixed && value.len() - core.len() <= 2 && (padded || core.len() >= 120)
}

/// How tokens and salted digests begin.
static TOKEN_STARTS: Words = Words::new(
    "$2a$ $2b$ $2y$ $1$ $5$ $6$ $argon2 $pbkdf2 $scrypt$ pbkdf2_ pbkdf2: scrypt: sha1$ sha256$ bcrypt$ {SSHA} {SHA} eyJ sk_ sk- pk_
    rk_ ghp_ gho_ glpat- xoxb- xoxp- AKIA AIza tok_ key_ whsec_ Bearer ssh-",
);

/// Digests, salted hashes, keys and signed tokens.
fn is_token(value: &str) -> bool {
    let length = value.len();
    let has = |test: fn(&char) -> bool| value.chars().filter(test).count();
    let digits = has(char::is_ascii_digit);
    let letters = has(char::is_ascii_alphabetic);
    let hex = value.chars().all(|c| c.is_ascii_hexdigit());
    if TOKEN_STARTS.iter().any(|start| value.starts_with(start)) && length >= 16 && digits > 0 {
        return true;
    }
    if hex && length >= 32 {
        return true;
    }
    let alphabet = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '$' | '.' | ':')
    };
    let both_cases = has(char::is_ascii_uppercase) > 2 && has(char::is_ascii_lowercase) > 2;
    length >= 24 && value.chars().all(alphabet) && digits >= 3 && letters >= 6 && both_cases
}

fn is_html(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    [
        "</", "<p>", "<p ", "<br", "<div", "<ul>", "<ol>", "<li>", "<span", "<a href", "<img ",
        "<h1", "<h2", "<h3", "<table",
    ]
    .iter()
    .any(|tag| lower.contains(tag))
        && lower.contains('>')
}

/// Article numbers, keys, paths, media types, names of constants: for programs, not for readers.
fn is_code(value: &str, single: bool, digits: usize) -> bool {
    let marks = |c: char| matches!(c, '-' | '_' | '.' | '/' | '#' | ':' | '+' | '*' | '\\');
    if !single {
        // Several codes, or a code with blanks in it: a digit, no small letter, nothing that reads as a word.
        return digits > 0
            && value.chars().count() <= 40
            && !value.chars().any(char::is_lowercase)
            && word_share(value) < 0.5;
    }
    let short = value.chars().count() <= 40;
    let plain = value
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || marks(c));
    let mixed = digits > 0 && value.chars().all(|c| c.is_ascii_alphanumeric() || marks(c));
    (short && (plain || mixed)) || has_inner_mark(value)
}

/// Whether something stands between its letters that stands in no word: `a/b.png`, `P_DATE=1;P_TEST=X`, `icon-4f`.
fn has_inner_mark(value: &str) -> bool {
    let core = value.trim_matches(|c: char| !c.is_alphanumeric());
    core.chars()
        .any(|c| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '-' | '‐' | '·' | '&'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_values() {
        for (value, class) in [
            ("ada@example.org", ValueClass::Email),
            ("https://example.org/a", ValueClass::Url),
            ("2024-02-29T10:00:00Z", ValueClass::Date),
            ("29.02.2024", ValueClass::Date),
            ("20240229", ValueClass::Date),
            ("4111 1111 1111 1111", ValueClass::Personal),
            ("DE89 3704 0044 0532 0130 00", ValueClass::Personal),
            ("078-05-1120", ValueClass::Personal),
            ("12345678Z", ValueClass::Personal),
            ("192.168.0.17", ValueClass::Personal),
            ("12.50", ValueClass::Number),
            ("1.234,56", ValueClass::Number),
            ("0000100012", ValueClass::Number),
            ("+49 30 901820", ValueClass::Phone),
            ("0711/1234567", ValueClass::Phone),
            ("555-0134", ValueClass::Phone),
            ("612 345 678", ValueClass::Phone),
            ("978-3-16-148410-0", ValueClass::Code),
            ("2024-0001", ValueClass::Code),
            ("5d41402abc4b2a76b9719d911017c592", ValueClass::Hash),
            ("$2b$12$abcdefghijklmnopqrstuv", ValueClass::Hash),
            ("aGVsbG8gd29ybGQxMjM=", ValueClass::Base64),
            ("{\"a\": 1}", ValueClass::Json),
            ("<p>Hello</p>", ValueClass::Html),
            ("SKU-1234", ValueClass::Code),
            ("uploads/2024/report.pdf", ValueClass::Code),
            ("image/png", ValueClass::Code),
            ("ZB 40 17/2", ValueClass::Code),
            ("P_BUKRS=1000;P_TEST=X", ValueClass::Code),
            ("DE123456789", ValueClass::Personal),
            ("ESB12345678", ValueClass::Personal),
            ("Hauptstr. 12", ValueClass::Address),
            ("Am alten Gasweg 7a", ValueClass::Address),
            ("221 Baker Street", ValueClass::Address),
            ("Calle Mayor, 5", ValueClass::Address),
            ("Blue enamel mug", ValueClass::Phrase),
            ("Rock'n'Roll", ValueClass::Phrase),
            ("shipped", ValueClass::Phrase),
            ("nan", ValueClass::Phrase),
            (
                "Please leave the parcel with the neighbour.",
                ValueClass::Prose,
            ),
            ("6f9619ff-8b86-4011-b42d-00c04fc964ff", ValueClass::Uuid),
        ] {
            assert_eq!(class_of(value), class, "{value}");
        }
    }

    #[test]
    fn language_needs_words() {
        assert!(language("The handle came off after two weeks of use.") > 0.8);
        assert!(language("AB-12 99 77/1 X9") < 0.3);
        assert!(language("XKCD QRTZ PLMN WVBS HJKL TRRW") < 0.1);
        assert!(language("この商品はとても良いです。また買いたい。") > 0.8);
    }
}
