//! Unit vectors that depend on the text and are there before it comes, in both encodings of the API.
//!
//! A vector is four quarters, each one of 256 that were made beforehand: hardly two texts get the same vector, some are
//! near each other, as in life, and a reply is made by copying bytes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const QUARTERS: usize = 4;
const CHOICES: usize = 256;
const BITS: u32 = CHOICES.trailing_zeros();
/// Numbers that a quarter has to be a multiple of: three floats are twelve bytes, which base64 writes without padding.
const ALIGNED: usize = 3;

/// Every quarter that a vector can be made of.
#[derive(Debug)]
pub struct Vectors {
    /// Numbers a vector.
    pub dimensions: usize,
    base64: Vec<String>,
    floats: Vec<String>,
}

impl Vectors {
    /// Makes the quarters, the same ones each time.
    ///
    /// # Panics
    ///
    /// Where the dimensions are no multiple of twelve.
    pub fn new(dimensions: usize) -> Self {
        let length = dimensions / QUARTERS;
        assert!(
            dimensions > 0 && dimensions.is_multiple_of(QUARTERS * ALIGNED),
            "dimensions have to be a multiple of {}",
            QUARTERS * ALIGNED
        );
        let mut random = SplitMix(20);
        let quarters: Vec<Vec<f32>> = (0..CHOICES).map(|_| quarter(length, &mut random)).collect();
        Self {
            dimensions,
            base64: quarters.iter().map(|quarter| as_base64(quarter)).collect(),
            floats: quarters.iter().map(|quarter| as_floats(quarter)).collect(),
        }
    }

    /// Writes the vector of the text with this hash as base64 of little-endian floats, in quotes.
    pub fn write_base64(&self, hash: u64, reply: &mut Vec<u8>) {
        reply.push(b'"');
        for choice in choices(hash) {
            reply.extend_from_slice(self.base64[choice].as_bytes());
        }
        reply.push(b'"');
    }

    /// Writes the vector of the text with this hash as a list of numbers.
    pub fn write_floats(&self, hash: u64, reply: &mut Vec<u8>) {
        reply.push(b'[');
        for (number, choice) in choices(hash).enumerate() {
            if number > 0 {
                reply.push(b',');
            }
            reply.extend_from_slice(self.floats[choice].as_bytes());
        }
        reply.push(b']');
    }
}

fn choices(hash: u64) -> impl Iterator<Item = usize> {
    (0..QUARTERS).map(move |number| {
        let shift = u32::try_from(number).expect("four quarters") * BITS;
        usize::try_from(hash >> shift).expect("a machine of 64 bits") % CHOICES
    })
}

/// Makes one quarter whose squares sum to a quarter.
fn quarter(length: usize, random: &mut SplitMix) -> Vec<f32> {
    let numbers: Vec<f64> = (0..length).map(|_| random.bell()).collect();
    let norm = numbers.iter().map(|number| number * number).sum::<f64>();
    let scale = (norm * 4.0).sqrt().recip();
    #[expect(clippy::cast_possible_truncation, reason = "32 bits is what APIs give")]
    let quarter = numbers
        .iter()
        .map(|number| (number * scale) as f32)
        .collect();
    quarter
}

fn as_base64(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

fn as_floats(numbers: &[f32]) -> String {
    let mut text = String::new();
    for (index, number) in numbers.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}{number}").expect("a string takes everything");
    }
    text
}

/// Sebastiano Vigna's `SplitMix64`.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Gives a number around 0 whose distribution is close to the normal one: a sum of four even ones.
    fn bell(&mut self) -> f64 {
        let even =
            |bits: u64| f64::from(u16::try_from(bits & 0xFFFF).expect("16 bits")) / 65_536.0 - 0.5;
        let bits = self.next();
        even(bits) + even(bits >> 16) + even(bits >> 32) + even(bits >> 48)
    }
}
