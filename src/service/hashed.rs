//! A deterministic embedder: hashed word and character n-grams, so that near texts get near vectors.
//!
//! Feature hashing with a sign (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009): each
//! word, pair of neighbouring words and piece of three characters of a word adds its weight to one place of the vector.
//! It knows no meaning: it is for demos, tests and for finding similar spellings. Only `+`, `*`, `/` and square roots
//! are used, which IEEE 754 fixes to the bit, so that every machine gives the same vectors.

use crate::error::{Error, ErrorKind, Result};

/// The model's name.
pub const MODEL: &str = "relvec-hashed";
/// Numbers a vector, where nothing else is asked for.
pub const DEFAULT_DIMENSIONS: usize = 384;
/// Fewest numbers a vector.
pub const MIN_DIMENSIONS: usize = 8;
/// Most numbers a vector.
pub const MAX_DIMENSIONS: usize = 4096;

const WORD: f32 = 1.0;
const STOP_WORD: f32 = 0.15;
const PAIR: f32 = 0.5;
const PIECE: f32 = 1.0;

/// English words that say little about what a text is about, sorted.
const STOP_WORDS: &[&str] = &[
    "a", "all", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "did", "do",
    "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "is", "it",
    "its", "me", "my", "no", "not", "of", "on", "or", "our", "she", "so", "that", "the", "their",
    "them", "then", "there", "they", "this", "to", "was", "we", "were", "what", "when", "which",
    "who", "will", "with", "would", "you", "your",
];

/// Turns texts into vectors of length 1.
#[derive(Debug, Clone)]
pub struct HashedEmbedder {
    dimensions: usize,
}

impl HashedEmbedder {
    /// Makes an embedder for vectors of so many numbers, 8 to 4096.
    ///
    /// # Errors
    /// The number is outside that range.
    pub fn new(dimensions: usize) -> Result<Self> {
        if (MIN_DIMENSIONS..=MAX_DIMENSIONS).contains(&dimensions) {
            Ok(Self { dimensions })
        } else {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("{MODEL} cannot make vectors of {dimensions} numbers"),
            )
            .hint(format!(
                "ask for {MIN_DIMENSIONS} to {MAX_DIMENSIONS} dimensions"
            )))
        }
    }

    /// Gives the vector of a text; its length is 1, also for a text without a word.
    #[must_use]
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut features = features(text);
        if features.is_empty() {
            features.extend(
                text.chars()
                    .map(|c| Feature::new([1, u64::from(c), 0], WORD)),
            );
        }
        features.sort_unstable_by_key(|feature| feature.hash);
        let mut vector = vec![0.0_f32; self.dimensions];
        for same in features.chunk_by(|left, right| left.hash == right.hash) {
            // Sublinear: the fourth "refund" says less than the first.
            let total: f32 = same.iter().map(|feature| feature.weight).sum();
            let weight = total / count(same.len()).sqrt();
            self.add(&mut vector, same[0].hash, weight);
        }
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm > 0.0 {
            for x in &mut vector {
                *x /= norm;
            }
        } else {
            vector[0] = 1.0;
        }
        vector
    }

    fn add(&self, vector: &mut [f32], hash: u64, weight: f32) {
        // The high half of the product is a fair place; the lowest bit, which hardly moves it, is the sign.
        let place = (u128::from(hash) * self.dimensions as u128) >> 64;
        let place = usize::try_from(place).unwrap_or_default();
        vector[place] += if hash & 1 == 0 { weight } else { -weight };
    }
}

#[derive(Debug, Clone, Copy)]
struct Feature {
    hash: u64,
    weight: f32,
}

impl Feature {
    fn new(parts: [u64; 3], weight: f32) -> Self {
        let hash = parts
            .iter()
            .fold(0x9e37_79b9_7f4a_7c15, |hash, part| mixed(hash ^ part));
        Self { hash, weight }
    }
}

fn features(text: &str) -> Vec<Feature> {
    let mut features = Vec::with_capacity(text.len() * 2);
    let mut word: Vec<char> = Vec::with_capacity(32);
    let mut previous = 0_u64;
    for c in text.chars().chain(std::iter::once(' ')) {
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if !word.is_empty() {
            previous = add_word(&mut features, &word, previous);
            word.clear();
        }
    }
    features
}

fn add_word(features: &mut Vec<Feature>, word: &[char], previous: u64) -> u64 {
    let hash = word
        .iter()
        .fold(0x517c_c1b7_2722_0a95, |hash, &c| mixed(hash ^ u64::from(c)));
    let stop = is_stop_word(word);
    features.push(Feature::new(
        [2, hash, 0],
        if stop { STOP_WORD } else { WORD },
    ));
    if previous != 0 {
        features.push(Feature::new(
            [3, previous, hash],
            if stop { STOP_WORD } else { PAIR },
        ));
    }
    if !stop {
        let at = |i: usize| word.get(i).map_or(0, |&c| u64::from(c));
        let weight = PIECE / count(word.len()).sqrt();
        // The first and the last piece contain the word's edge, which is 0.
        for i in 0..word.len() {
            let before = if i == 0 { 0 } else { at(i - 1) };
            features.push(Feature::new([4, before << 32 | at(i), at(i + 1)], weight));
        }
    }
    hash
}

fn is_stop_word(word: &[char]) -> bool {
    let mut letters = [0_u8; 5];
    if word.len() > letters.len() {
        return false;
    }
    for (letter, &c) in letters.iter_mut().zip(word) {
        match u8::try_from(c) {
            Ok(byte) => *letter = byte,
            Err(_) => return false,
        }
    }
    STOP_WORDS
        .binary_search_by(|stop| stop.as_bytes().cmp(&letters[..word.len()]))
        .is_ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of words that an f32 cannot hold is close enough"
)]
const fn count(n: usize) -> f32 {
    n as f32
}

/// Mixes 64 bits (the finalizer of David Stafford's variant 13, as in `SplitMix64`).
const fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed(text: &str) -> Vec<f32> {
        HashedEmbedder::new(DEFAULT_DIMENSIONS)
            .expect("the default is allowed")
            .embed(text)
    }

    fn near(left: &str, right: &str) -> f32 {
        embed(left)
            .iter()
            .zip(embed(right))
            .map(|(l, r)| l * r)
            .sum()
    }

    #[test]
    fn stop_words_are_sorted_and_short() {
        assert!(STOP_WORDS.is_sorted());
        assert!(STOP_WORDS.iter().all(|word| word.len() <= 5));
    }

    #[test]
    fn vectors_are_fixed_to_the_bit() {
        // Vectors are stored: another algorithm has to be another model.
        let vector = HashedEmbedder::new(8)
            .expect("8 is allowed")
            .embed("The kettle arrived broken, and nobody answers the telephone");
        let bits: Vec<u32> = vector.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, BITS, "{bits:?}");
    }

    const BITS: [u32; 8] = [
        0xbe48_a08b,
        0xbcf8_dc08,
        0x3f01_7ee0,
        0x3e98_1461,
        0x3f3e_f426,
        0x3d25_7fd3,
        0x3e1a_1ae8,
        0xbe42_1327,
    ];

    #[test]
    fn every_text_has_a_vector_of_length_one() {
        for text in [
            "",
            " ",
            "...",
            "\u{0}",
            "a",
            "the",
            "日本語",
            "😀",
            "x".repeat(100_000).as_str(),
        ] {
            for dimensions in [8, 384, 4096] {
                let vector = HashedEmbedder::new(dimensions)
                    .expect("in range")
                    .embed(text);
                let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert_eq!(vector.len(), dimensions);
                assert!((norm - 1.0).abs() < 1e-4, "{norm} for {dimensions}");
            }
        }
    }

    #[test]
    fn near_texts_get_near_vectors() {
        let question = "refund for a broken kettle";
        let answer = "The kettle arrived broken, please refund it.";
        for other in [
            "Where is my parcel?",
            "A size too small, I would like a larger one",
            "the for a of",
        ] {
            assert!(
                near(question, answer) > near(question, other) + 0.2,
                "{other}"
            );
        }
        assert!(near("delivery", "deliveries") > 0.3);
        assert!(near("Straße", "STRASSE straße") > 0.3);
        assert!(near("order 17", "ORDER, 17!") > 0.999);
    }

    #[test]
    fn dimensions_out_of_range_are_refused() {
        for dimensions in [0, 7, 4097] {
            let error = HashedEmbedder::new(dimensions).expect_err("out of range");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
