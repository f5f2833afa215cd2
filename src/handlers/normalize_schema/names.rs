//! The words of identifiers.

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

/// Gives the singular of an English noun, near enough to compare names.
pub(crate) fn singular(word: &str) -> String {
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

/// Gives the words of a referring column without the key's own: `customer_id` gives `customer`.
pub(crate) fn stem(column: &str) -> Vec<String> {
    let mut stem = words(column);
    let key = |word: &str| matches!(word, "id" | "key" | "fk" | "uuid" | "no" | "code" | "ref");
    while stem.len() > 1 && stem.last().is_some_and(|word| key(word)) {
        stem.pop();
    }
    if stem.len() > 1 && stem.first().is_some_and(|word| word == "fk") {
        stem.remove(0);
    }
    stem
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
        assert_eq!(stem("fk_customer_id"), ["customer"]);
        assert_eq!(stem("id"), ["id"]);
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
        ] {
            assert_eq!(singular(plural), expected);
        }
    }
}
