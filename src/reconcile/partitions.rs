//! Records of an entity, put into partitions by the hash of their key: what belongs together meets in one partition, in memory,
//! and neither a database nor relvec has to sort all of it.
//!
//! ```text
//! record ──► buffer of its partition ──► file, once the buffer is full
//! ```
//!
//! Little stays in memory and never touches the disk. A file has no name, so that it is gone with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// Partitions of a side; two sides have a file each for all of them.
const PARTITIONS: usize = 64;

/// Bytes of a partition that are kept in memory.
const BUFFER: usize = 128 << 10;

/// Records on their way into partitions.
pub(super) struct Partitions {
    parts: Vec<Partition>,
    /// How often what is here was parted before: each time by another hash.
    level: u32,
}

/// One of them.
#[derive(Default)]
pub(super) struct Partition {
    buffer: Vec<u8>,
    file: Option<File>,
    bytes: u64,
}

impl Partitions {
    /// Makes empty ones.
    pub(super) fn new(level: u32) -> Self {
        Self {
            parts: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            level,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The folder of temporary files cannot be written.
    pub(super) fn add(&mut self, key: &[String], record: &[u8]) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        (self.level, key).hash(&mut hasher);
        let place = hasher.finish() % (PARTITIONS as u64);
        let part = &mut self.parts[usize::try_from(place).unwrap_or(0)];
        part.add(record).map_err(unwritable)
    }

    /// Gives them, each for itself.
    pub(super) fn into_parts(self) -> std::vec::IntoIter<Partition> {
        self.parts.into_iter()
    }
}

impl Partition {
    fn add(&mut self, record: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(record.len()).map_err(std::io::Error::other)?;
        self.buffer.extend(length.to_le_bytes());
        self.buffer.extend(record);
        self.bytes += 4 + u64::from(length);
        if self.buffer.len() >= BUFFER {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(unnamed()?),
            };
            file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Gives the bytes of all records.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the records one by one, as they came.
    ///
    /// # Errors
    /// The folder of temporary files cannot be read.
    pub(super) fn records(self) -> Result<Records> {
        let mut file = self.file;
        if let Some(file) = &mut file {
            file.rewind().map_err(unwritable)?;
        }
        Ok(Records {
            left: self.bytes,
            file: file.map(|file| BufReader::with_capacity(BUFFER, file)),
            rest: std::io::Cursor::new(self.buffer),
        })
    }
}

/// Reads a partition's records.
pub(super) struct Records {
    left: u64,
    file: Option<BufReader<File>>,
    rest: std::io::Cursor<Vec<u8>>,
}

impl Records {
    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        // A record never lies in both.
        let in_file = match &mut self.file {
            Some(file) => !std::io::BufRead::fill_buf(file)?.is_empty(),
            None => false,
        };
        let source: &mut dyn Read = match &mut self.file {
            Some(file) if in_file => file,
            Some(_) | None => &mut self.rest,
        };
        let mut length = [0; 4];
        source.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        let mut record = vec![0; length as usize];
        source.read_exact(&mut record)?;
        self.left -= 4 + u64::from(length);
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.left > 0).then(|| self.read().map_err(unwritable))
    }
}

/// A file in the folder of temporary files that only this process can find.
fn unnamed() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("relvec-{}", Uuid::new_v4().simple()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn unwritable(error: std::io::Error) -> Error {
    let message = "the folder of temporary files cannot be used to compare source and target";
    Error::new(ErrorKind::Unavailable, message)
        .hint("make room there, or name another folder in TMPDIR")
        .because(error)
}

/// Writes the values of a record, each with its length, one after the other.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Makes an empty record, in the room of the one before.
    pub(super) fn clear(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// Adds bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
        self
    }

    /// Adds texts, their number first.
    pub(super) fn texts(&mut self, texts: &[String]) -> &mut Self {
        self.0.extend((texts.len() as u64).to_le_bytes());
        for text in texts {
            self.bytes(text.as_bytes());
        }
        self
    }

    /// Adds texts that may be absent.
    pub(super) fn values(&mut self, values: &[Option<String>]) -> &mut Self {
        self.0.extend((values.len() as u64).to_le_bytes());
        for value in values {
            self.0.push(u8::from(value.is_some()));
            self.bytes(value.as_deref().unwrap_or_default().as_bytes());
        }
        self
    }

    /// Gives the record.
    pub(super) fn record(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the values of a record in the order in which they were written; nothing where they are not there.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(8)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    }

    /// Takes a number.
    pub(super) fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    /// Takes bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Takes a text.
    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// Takes texts.
    pub(super) fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.length()?;
        (0..count).map(|_| self.text()).collect()
    }

    /// Takes texts that may be absent.
    pub(super) fn values(&mut self) -> Option<Vec<Option<String>>> {
        let count = self.length()?;
        let value = |_| {
            let there = self.take(1)? == [1];
            let text = self.text()?;
            Some(there.then_some(text))
        };
        (0..count).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, size: usize) -> Vec<u8> {
        let mut writer = Writer::default();
        let values = [None, Some("x".repeat(size))];
        writer.texts(&[key.to_owned()]).values(&values).number(7);
        writer.record().to_vec()
    }

    /// Reads every partition: the keys in each.
    fn read(partitions: Partitions) -> Vec<Vec<String>> {
        let parts = partitions.into_parts().map(|part| {
            let records = part.records().expect("a file");
            let keys = records.map(|record| {
                let record = record.expect("a record");
                let mut reader = Reader(&record);
                let key = reader.texts().expect("a key").concat();
                let values = reader.values().expect("values");
                assert_eq!((values[0].is_none(), reader.number()), (true, Some(7)));
                assert!(values[1].as_ref().is_some_and(|text| text.len() == 3000));
                key
            });
            keys.collect()
        });
        parts.collect()
    }

    #[test]
    fn every_record_comes_back_once_with_those_of_its_key() {
        // 9 MB: most of it has to go through files.
        let mut partitions = Partitions::new(0);
        for number in 0..3000 {
            let key = format!("{}", number % 1500);
            let record = record(&key, 3000);
            partitions.add(&[key], &record).expect("room");
        }
        assert!(partitions.parts.iter().any(|part| part.file.is_some()));
        let parts = read(partitions);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 3000);
        let mut seen = std::collections::BTreeSet::new();
        for part in &parts {
            let keys: std::collections::BTreeSet<&String> = part.iter().collect();
            assert_eq!(part.len(), 2 * keys.len());
            assert!(keys.iter().all(|key| seen.insert((*key).clone())));
        }
    }

    #[test]
    fn another_level_parts_what_one_has_together() {
        let mut one = Partitions::new(0);
        for number in 0..1000 {
            let key = number.to_string();
            one.add(std::slice::from_ref(&key), &record(&key, 3000))
                .expect("room");
        }
        let together = read(one).into_iter().next().expect("a partition");
        assert!(together.len() > 3);
        let mut two = Partitions::new(1);
        for key in &together {
            two.add(std::slice::from_ref(key), &record(key, 3000))
                .expect("room");
        }
        let most = read(two).iter().map(Vec::len).max();
        assert!(most.is_some_and(|most| most < together.len()));
    }

    #[test]
    fn a_record_that_is_cut_is_none() {
        let whole = record("a", 3);
        for end in 0..whole.len() {
            let mut reader = Reader(&whole[..end]);
            let read = (|| Some((reader.texts()?, reader.values()?, reader.number()?)))();
            assert!(read.is_none(), "{end}");
        }
    }
}
