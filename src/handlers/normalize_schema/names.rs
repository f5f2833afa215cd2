//! The words of identifiers, in English, German and Spanish.
//!
//! A word is compared by its [`bases`]: what it can be the plural of. Two words are the same if they share one, so that no language
//! has to be guessed: `clientes` and `cliente`, `Kunden` and `kunde`, `Ärzte` and `arzt`, `cities` and `city`.

use std::collections::BTreeSet;

use super::lexicon::Words;

/// Words of columns with a person's name.
pub(crate) const PERSON_NAMES: &[&[&str]] = &[
    &["first", "name"],
    &["firstname"],
    &["last", "name"],
    &["lastname"],
    &["surname"],
    &["given", "name"],
    &["family", "name"],
    &["full", "name"],
    &["fullname"],
    &["vorname"],
    &["nachname"],
    &["apellido"],
    &["apellidos"],
    &["primer", "apellido"],
    &["familienname"],
];

/// Splits an identifier into lower-case words: `OrderLine_ID` gives `order`, `line`, `id`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (index, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.push(std::mem::take(&mut word));
            continue;
        }
        let before = index.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(index + 1);
        let starts = c.is_uppercase()
            && (before.is_some_and(|b| b.is_lowercase() || b.is_numeric())
                || (before.is_some_and(char::is_uppercase)
                    && after.is_some_and(|a| a.is_lowercase())));
        if starts {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Gives a word without accents; umlauts as they are written where there are none.
pub(crate) fn folded(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            'ä' => plain.push_str("ae"),
            'ö' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            'á' | 'à' | 'â' | 'ã' | 'å' => plain.push('a'),
            'é' | 'è' | 'ê' | 'ë' => plain.push('e'),
            'í' | 'ì' | 'î' | 'ï' => plain.push('i'),
            'ó' | 'ò' | 'ô' | 'õ' => plain.push('o'),
            'ú' | 'ù' | 'û' => plain.push('u'),
            'ñ' => plain.push('n'),
            'ç' => plain.push('c'),
            other => plain.push(other),
        }
    }
    plain
}

/// Gives the singular of an English noun, near enough to read well.
pub(crate) fn singular(word: &str) -> String {
    if let Some((one, _)) = IRREGULAR.iter().find(|(_, many)| *many == word) {
        return (*one).to_owned();
    }
    let ends = |ending: &str| word.len() > ending.len() + 1 && word.ends_with(ending);
    if ends("ies") {
        format!("{}y", &word[..word.len() - 3])
    } else if ["sses", "xes", "ches", "shes", "zes"].into_iter().any(ends) {
        word[..word.len() - 2].to_owned()
    } else if ends("s") && !["ss", "us", "is"].into_iter().any(ends) {
        word[..word.len() - 1].to_owned()
    } else {
        word.to_owned()
    }
}

/// Plurals that no rule gives: one, many.
const IRREGULAR: &[(&str, &str)] = &[
    ("person", "people"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("datum", "data"),
    ("medium", "media"),
    ("criterion", "criteria"),
    ("index", "indices"),
    ("index", "indexes"),
    ("vertex", "vertices"),
    ("matrix", "matrices"),
    ("leaf", "leaves"),
    ("shelf", "shelves"),
    ("half", "halves"),
];

/// Endings of plurals and what stands in their place in the singular: English, German, Spanish.
const PLURALS: &[(&str, &str)] = &[
    ("ies", "y"),
    ("es", ""),
    ("s", ""),
    ("nen", ""),
    ("en", ""),
    ("n", ""),
    ("er", ""),
    ("e", ""),
    ("ces", "z"),
];

/// German nouns with a plural in `-er` and no vowel that changes.
static NEUTERS: Words = Words::new("bild kind feld glied brett schild lied kleid geld licht nest");

/// Gives every word that a word may be the plural of, and the word itself. Words of fewer than three letters stand for themselves.
pub(crate) fn bases(word: &str) -> BTreeSet<String> {
    let word = folded(word);
    let mut bases = BTreeSet::new();
    for (one, many) in IRREGULAR {
        if *many == word {
            bases.insert((*one).to_owned());
        }
    }
    for (many, one) in PLURALS {
        let Some(rest) = word.strip_suffix(many) else {
            continue;
        };
        // `poster` and `reporter` are people, and no German plurals; `Häuser` and `Bilder` are.
        let agent =
            *many == "er" && !has_umlaut(rest) && !NEUTERS.iter().any(|noun| rest.ends_with(noun));
        // `status`, `class` and `analysis` are no plurals.
        let singular =
            *many == "s" && (rest.ends_with('s') || ["u", "i"].iter().any(|e| rest.ends_with(e)));
        if rest.chars().count() + one.len() < 3 || singular || agent {
            continue;
        }
        bases.insert(format!("{rest}{one}"));
        let plain = rest
            .replace("ae", "a")
            .replace("oe", "o")
            .replace("ue", "u");
        if plain != rest {
            bases.insert(plain);
        }
    }
    bases.insert(word);
    bases
}

fn has_umlaut(word: &str) -> bool {
    ["ae", "oe", "ue"]
        .iter()
        .any(|umlaut| word.contains(umlaut))
}

/// Whether two words are the same but for their number.
pub(crate) fn same(a: &str, b: &str) -> bool {
    // No plural begins with another letter than its singular, or is much longer.
    let near = folded_start(a) == folded_start(b) && a.len().abs_diff(b.len()) <= 4;
    a == b || (near && !bases(a).is_disjoint(&bases(b)))
}

fn folded_start(word: &str) -> Option<char> {
    let first = word.chars().next()?;
    folded(first.encode_utf8(&mut [0; 4])).chars().next()
}

/// Whether two lists of words are the same but for their numbers.
pub(crate) fn same_words(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// Whether a list ends with the words of another one.
pub(crate) fn ends_with(words: &[String], end: &[String]) -> bool {
    !end.is_empty()
        && words.len() >= end.len()
        && same_words(&words[words.len() - end.len()..], end)
}

/// Whether one word is short for another: `cust` for `customer`, `dept` for `department`, `acct` for `account`.
pub(crate) fn abbreviates(short: &str, long: &str) -> bool {
    let (short, long) = (folded(short), folded(long));
    if short.len() < 3 || short.len() >= long.len() || short.chars().any(|c| c.is_ascii_digit()) {
        return false;
    }
    if long.starts_with(&short) {
        return true;
    }
    // `acct`, `dept`, `mgr`: they begin and end alike, and behind the common beginning there are only consonants, in their order.
    let common = short
        .chars()
        .zip(long.chars())
        .take_while(|(s, l)| s == l)
        .count();
    let mut rest = long.chars().skip(common);
    common >= 1
        && short.chars().last() == long.chars().last()
        && short
            .chars()
            .skip(common)
            .all(|c| !"aeiou".contains(c) && rest.any(|l| l == c))
}

/// Gives the words of a table's name with the last one in the singular.
pub(crate) fn singular_words(name: &str) -> Vec<String> {
    let mut words = words(name);
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    words
}

/// Gives an identifier for people: `order_notes` gives `Order notes`. At most 60 characters, on one line.
pub(crate) fn humanized(name: &str) -> String {
    sentence(&words(name))
}

/// Puts words into a label.
pub(crate) fn sentence(words: &[String]) -> String {
    let text = words.join(" ");
    let mut chars = text.chars().take(60);
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => "Value".to_owned(),
    }
}

/// Words that say that a column is a key, and not of what.
static KEY_WORDS: Words = Words::new(
    "id ids key fk pk uuid guid no nr num number code cd ref reference oid uid sid nummer kennung kuerzel schluessel numero codigo
    cod clave identifier identificador kode ident",
);
/// Endings that are written without a boundary: `custno`, `kundennr`, `customerid`.
static KEY_ENDINGS: Words =
    Words::new("nummer number numero codigo code uuid guid key nr no num id");

/// Whether a word says that a column is a key, and not of what.
pub(crate) fn is_key_word(word: &str) -> bool {
    KEY_WORDS.has_exactly(&folded(word))
}

/// Gives the words of a referring column without the key's own: `customer_id`, `fk_customer` and `customerid` give `customer`.
///
/// A name that has no such word is given as it is.
pub(crate) fn stem(column: &str) -> Vec<String> {
    let mut stem = words(column);
    while stem.len() > 1 && stem.last().is_some_and(|word| is_key_word(word)) {
        stem.pop();
    }
    while stem.len() > 1 && stem.first().is_some_and(|word| is_key_word(word)) {
        stem.remove(0);
    }
    if let Some(last) = stem.last_mut() {
        let bare = KEY_ENDINGS
            .iter()
            .find_map(|ending| folded(last).strip_suffix(ending).map(str::to_owned));
        if let Some(bare) = bare.filter(|bare| bare.chars().count() >= 3) {
            *last = bare;
        }
    }
    stem
}

/// Whether a column's name has a word or an ending that says that it is a key.
pub(crate) fn names_a_key(column: &str) -> bool {
    let words = words(column);
    words.iter().any(|word| is_key_word(word)) || stem(column) != words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_joins() {
        assert_eq!(words("OrderLine_ID"), ["order", "line", "id"]);
        assert_eq!(words("HTTPServer2Name"), ["http", "server2", "name"]);
        assert_eq!(words("a\"; import os #"), ["a", "import", "os"]);
        assert_eq!(humanized("order_notes"), "Order notes");
        assert_eq!(humanized("\n\u{2028}"), "Value");
        assert_eq!(folded("größe"), "groesse");
    }

    #[test]
    fn stems() {
        for (column, expected) in [
            ("fk_customer_id", &["customer"][..]),
            ("id", &["id"]),
            ("ID_KUNDE", &["kunde"]),
            ("id_cliente", &["cliente"]),
            ("KundenNr", &["kunden"]),
            ("cust_no", &["cust"]),
            ("userId", &["user"]),
            ("customerid", &["customer"]),
            ("kundennummer", &["kunden"]),
            ("billing_address_id", &["billing", "address"]),
            ("parent", &["parent"]),
        ] {
            assert_eq!(stem(column), expected, "{column}");
        }
        assert!(names_a_key("deptno") && names_a_key("id_cliente") && !names_a_key("customer"));
    }

    #[test]
    fn singulars() {
        for (plural, expected) in [
            ("orders", "order"),
            ("categories", "category"),
            ("boxes", "box"),
            ("addresses", "address"),
            ("status", "status"),
            ("class", "class"),
            ("houses", "house"),
            ("people", "person"),
        ] {
            assert_eq!(singular(plural), expected);
        }
    }

    #[test]
    fn numbers_of_three_languages() {
        for (many, one) in [
            ("customers", "customer"),
            ("categories", "category"),
            ("addresses", "address"),
            ("people", "person"),
            ("Kunden", "Kunde"),
            ("Bestellungen", "Bestellung"),
            ("Aufträge", "Auftrag"),
            ("Aerzte", "Arzt"),
            ("Häuser", "Haus"),
            ("Positionen", "Position"),
            ("clientes", "cliente"),
            ("ciudades", "ciudad"),
            ("habitaciones", "habitación"),
            ("veces", "vez"),
        ] {
            assert!(
                same(&many.to_lowercase(), &one.to_lowercase()),
                "{many} {one}"
            );
        }
        for (a, b) in [
            ("status", "stat"),
            ("order", "customer"),
            ("address", "dress"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn abbreviations() {
        for (short, long) in [
            ("cust", "customer"),
            ("dept", "department"),
            ("acct", "account"),
            ("prod", "product"),
        ] {
            assert!(abbreviates(short, long), "{short} {long}");
        }
        for (short, long) in [
            ("id", "idea"),
            ("customer", "cust"),
            ("team", "treatment"),
            ("unit", "university"),
            ("car", "scar"),
        ] {
            assert!(!abbreviates(short, long), "{short} {long}");
        }
    }
}
