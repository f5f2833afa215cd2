//! Lists of words, written as text.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::names::bases;

/// A list of words, without accents and in small letters, with white space between them.
pub(crate) struct Words {
    text: &'static str,
    set: OnceLock<HashSet<&'static str>>,
}

impl Words {
    /// Makes a list of a text.
    pub(crate) const fn new(text: &'static str) -> Self {
        Self {
            text,
            set: OnceLock::new(),
        }
    }

    /// Gives the words in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.text.split_ascii_whitespace()
    }

    /// Says whether a word is in the list as it is.
    pub(crate) fn has_exactly(&self, word: &str) -> bool {
        self.set
            .get_or_init(|| self.iter().collect())
            .contains(word)
    }

    /// Says whether a word is in the list, in the singular or in the plural.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.has_exactly(word) || bases(word).iter().any(|base| self.has_exactly(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_both_numbers() {
        static ANIMALS: Words = Words::new(
            "cat dog
             pony",
        );
        assert!(ANIMALS.has("ponies") && ANIMALS.has("dog") && !ANIMALS.has("do"));
        assert!(ANIMALS.has_exactly("cat") && !ANIMALS.has_exactly("cats"));
        assert_eq!(ANIMALS.iter().count(), 3);
    }
}
