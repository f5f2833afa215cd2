//! Values as they occur in real databases, from a seed and a list of words.
//!
//! A grammar is lines `name: one | another`, continued by lines that start with a space. `{name}` in an alternative is replaced by
//! one of the alternatives of `name`, and `{^name}` by one with a capital letter at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::schema::Value;

/// Lines of people's words that several corpora share.
pub const PEOPLE: &str = include_str!("words/people.txt");

/// Makes values; the same seed makes the same ones.
pub struct Maker {
    state: u64,
    grammar: BTreeMap<String, Vec<String>>,
    columns: BTreeMap<String, Vec<Value>>,
}

impl Maker {
    /// Starts from a seed and the texts of a grammar.
    pub fn new(seed: u64, grammar: &[&str]) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            grammar: read_grammar(grammar),
            columns: BTreeMap::new(),
        }
    }

    /// Keeps the values of `table.column`, for [`Maker::key`].
    pub fn remember(&mut self, column: &str, values: Vec<Value>) {
        self.columns.insert(column.to_owned(), values);
    }

    /// Gives 64 bits: the generator `SplitMix64` (Steele, Lea, Flood 2014).
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Gives a position below `count`.
    fn position(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("a list's length");
        usize::try_from(self.bits() % count).expect("below a list's length")
    }

    /// Gives a number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low + 1).expect("low is not above high");
        low + i64::try_from(self.bits() % span).expect("within the span")
    }

    /// Says yes in so many of a hundred cases.
    pub fn chance(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }

    /// Gives one of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.position(list.len())]
    }

    /// Gives a value in so many of a hundred cases, else NULL.
    pub fn some<T: Into<Value>>(
        &mut self,
        percent: i64,
        make: impl FnOnce(&mut Self) -> T,
    ) -> Value {
        if self.chance(percent) {
            make(self).into()
        } else {
            Value::Null
        }
    }

    /// Gives the value of some row of `table.column`, which is filled already. NULL is passed over.
    pub fn key(&mut self, column: &str) -> Value {
        loop {
            let at = self.position(self.columns[column].len());
            let value = &self.columns[column][at];
            if *value != Value::Null {
                return value.clone();
            }
        }
    }

    /// Gives the value of `table.column` in the row with this number, from 1.
    pub fn at(&self, column: &str, number: i64) -> Value {
        let at = usize::try_from(number - 1).expect("a number from 1");
        self.columns[column][at].clone()
    }

    /// Gives the number of an earlier row in so many of a hundred cases, else NULL: a reference of a table to itself.
    pub fn earlier(&mut self, number: i64, percent: i64) -> Value {
        if number > 1 && self.chance(percent) {
            Value::Int(self.between(1, number - 1))
        } else {
            Value::Null
        }
    }

    /// Gives so many different pairs of the values of two columns.
    pub fn pairs(&mut self, left: &str, right: &str, count: usize) -> Vec<(Value, Value)> {
        let mut pairs = BTreeSet::new();
        while pairs.len() < count {
            let pair = (self.key(left), self.key(right));
            pairs.insert(pair);
        }
        pairs.into_iter().collect()
    }

    /// Gives each value of `table.column` with the numbers from 1 to some number within the bounds: lines of a document.
    pub fn lines(&mut self, column: &str, fewest: i64, most: i64) -> Vec<(Value, i64)> {
        let parents = self.columns[column].clone();
        let mut lines = Vec::new();
        for parent in parents {
            let count = self.between(fewest, most);
            lines.extend((1..=count).map(|line| (parent.clone(), line)));
        }
        lines
    }

    /// Gives an expansion of a rule of the grammar.
    pub fn say(&mut self, rule: &str) -> String {
        let alternatives = self
            .grammar
            .get(rule)
            .unwrap_or_else(|| panic!("the grammar has no `{rule}`"));
        let count = alternatives.len();
        let at = self.position(count);
        let text = self.grammar[rule][at].clone();
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').expect("a closing brace");
            out.push_str(before);
            match name.strip_prefix('^') {
                Some(name) => out.push_str(&capital(&self.say(name))),
                None => out.push_str(&self.say(name)),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// Gives sentences of a rule, no two the same in a row.
    pub fn prose(&mut self, rule: &str, fewest: i64, most: i64) -> String {
        let count = self.between(fewest, most);
        let mut sentences: Vec<String> = Vec::new();
        for _ in 0..count {
            let sentence = self.say(rule);
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        sentences.join(" ")
    }

    /// Gives paragraphs of HTML made of sentences of a rule.
    pub fn html(&mut self, rule: &str, paragraphs: i64) -> String {
        let mut out = String::new();
        for _ in 0..paragraphs {
            let text = self.prose(rule, 2, 4);
            writeln!(out, "<p>{text}</p>").expect("a string grows");
        }
        out
    }

    /// Gives so many characters of an alphabet.
    pub fn letters(&mut self, alphabet: &str, count: i64) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..count).map(|_| self.pick(&alphabet)).collect()
    }

    /// Gives decimal digits.
    pub fn digits(&mut self, count: i64) -> String {
        self.letters("0123456789", count)
    }

    /// Gives hexadecimal digits: a digest.
    pub fn hex(&mut self, count: i64) -> String {
        self.letters("0123456789abcdef", count)
    }

    /// Gives base64 of random bytes.
    pub fn base64(&mut self, count: i64) -> String {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        format!("{}==", self.letters(alphabet, count * 4 - 2))
    }

    /// Gives a token as web services hand them out.
    pub fn token(&mut self, prefix: &str, count: i64) -> String {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
        format!("{prefix}{}", self.letters(alphabet, count))
    }

    /// Gives a password's bcrypt hash.
    pub fn bcrypt(&mut self) -> String {
        let alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        format!("$2b$12${}", self.letters(alphabet, 53))
    }

    /// Gives a UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let hex = self.hex(30);
        format!(
            "{}-{}-4{}-a{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..15],
            &hex[15..18],
            &hex[18..30]
        )
    }

    /// Gives some bytes.
    pub fn bytes(&mut self, count: i64) -> Value {
        Value::Bytes((0..count).map(|_| self.bits().to_le_bytes()[0]).collect())
    }

    /// Gives a day in these years.
    pub fn date(&mut self, first: i64, last: i64) -> String {
        let (year, month, day) = (
            self.between(first, last),
            self.between(1, 12),
            self.between(1, 28),
        );
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Gives an instant in these years.
    pub fn timestamp(&mut self, first: i64, last: i64) -> String {
        let (hour, minute, second) = (
            self.between(0, 23),
            self.between(0, 59),
            self.between(0, 59),
        );
        format!(
            "{} {hour:02}:{minute:02}:{second:02}",
            self.date(first, last)
        )
    }

    /// Gives an amount with two digits after the point.
    pub fn amount(&mut self, low: i64, high: i64) -> Value {
        let (whole, cents) = (self.between(low, high), self.between(0, 99));
        Value::Number(format!("{whole}.{cents:02}"))
    }

    /// Gives an address of electronic mail that fits a name.
    pub fn email(&mut self, name: &str, number: i64) -> String {
        let local: String = name
            .to_lowercase()
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('.'),
                'ä' | 'á' | 'à' => Some('a'),
                'ö' | 'ó' => Some('o'),
                'ü' | 'ú' => Some('u'),
                'é' => Some('e'),
                'í' => Some('i'),
                'ñ' => Some('n'),
                'ß' => Some('s'),
                letter if letter.is_ascii_alphanumeric() => Some(letter),
                _ => None,
            })
            .collect();
        format!("{local}{number}@{}", self.say("maildomain"))
    }

    /// Gives a telephone number of a country.
    pub fn phone(&mut self, country: &str) -> String {
        format!("{country} {} {}", self.between(30, 989), self.digits(7))
    }

    /// Gives a network address.
    pub fn ip(&mut self) -> String {
        let parts: Vec<String> = (0..4).map(|_| self.between(1, 254).to_string()).collect();
        parts.join(".")
    }

    /// Gives a bank account's number with its check digits (ISO 13616).
    pub fn iban(&mut self, country: &str, digits: i64) -> String {
        let account = self.digits(digits);
        let numbers: String = country
            .chars()
            .map(|letter| (u32::from(letter) - u32::from('A') + 10).to_string())
            .collect();
        let remainder = format!("{account}{numbers}00")
            .bytes()
            .fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
        format!("{country}{:02}{account}", 98 - remainder)
    }

    /// Gives a payment card's number with its check digit (ISO/IEC 7812).
    pub fn card(&mut self) -> String {
        let body = format!("4{}", self.digits(14));
        let sum: u32 = body
            .bytes()
            .rev()
            .enumerate()
            .map(|(at, digit)| {
                let digit = u32::from(digit - b'0');
                let doubled = if at % 2 == 0 { digit * 2 } else { digit };
                if doubled > 9 { doubled - 9 } else { doubled }
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn read_grammar(texts: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut grammar: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let alternatives = if line.starts_with(' ') {
            line
        } else {
            let (name, rest) = line.split_once(':').expect("`name: alternatives`");
            name.clone_into(&mut current);
            rest
        };
        let entry = grammar.entry(current.clone()).or_default();
        entry.extend(
            alternatives
                .split('|')
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty()),
        );
    }
    grammar
}
