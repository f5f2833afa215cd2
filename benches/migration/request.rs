//! A request to the embedding API, read without keeping its texts.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// What OpenAI's `/v1/embeddings` is asked.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// The model's name, which the reply repeats.
    pub model: String,
    /// The texts.
    pub input: Input,
    /// `float` if absent.
    #[serde(default)]
    pub encoding_format: Option<String>,
    /// What the API has, if absent.
    #[serde(default)]
    pub dimensions: Option<usize>,
}

/// All that a reply needs to know of a text.
#[derive(Debug)]
pub struct Text {
    /// Chooses its vector.
    pub hash: u64,
    /// How many tokens it counts as.
    pub tokens: usize,
}

/// A text, a list of texts, a list of tokens or a list of these, of which nothing is kept but hashes.
#[derive(Debug)]
pub struct Input(pub Vec<Text>);

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Input, E> {
        Ok(Input(vec![hashed(text)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
        let mut texts = Vec::with_capacity(256);
        let mut tokens = Vec::new();
        while let Some(item) = items.next_element()? {
            match item {
                Item::Text(text) => texts.push(text),
                Item::Token(token) => tokens.push(token),
            }
        }
        if !tokens.is_empty() {
            texts.push(hashed_tokens(&tokens));
        }
        Ok(Input(texts))
    }
}

enum Item {
    Text(Text),
    Token(u64),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a text, a token or a list of tokens")
    }

    fn visit_str<E>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(hashed(text)))
    }

    fn visit_u64<E>(self, token: u64) -> Result<Item, E> {
        Ok(Item::Token(token))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = items.next_element::<u64>()? {
            tokens.push(token);
        }
        Ok(Item::Text(hashed_tokens(&tokens)))
    }
}

fn hashed(text: &str) -> Text {
    let mut hasher = FixedState::with_seed(20).build_hasher();
    hasher.write(text.as_bytes());
    let (hash, tokens) = (hasher.finish(), text.len().div_ceil(4));
    Text { hash, tokens }
}

fn hashed_tokens(tokens: &[u64]) -> Text {
    let mut hasher = FixedState::with_seed(20).build_hasher();
    for token in tokens {
        hasher.write_u64(*token);
    }
    let (hash, tokens) = (hasher.finish(), tokens.len());
    Text { hash, tokens }
}
