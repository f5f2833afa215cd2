//! Records of an entity, put into partitions by the hash of their key: what belongs together meets in one partition, in memory,
//! and neither a database nor relvec has to sort all of it.
//!
//! ```text
//! record ──► buffer of its partition ──► file, once the buffer is full
//! ```
//!
//! Little stays in memory and never touches the disk. A file has no name, so that it is gone with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use foldhash::fast::FixedState;
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
    level: u64,
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
    pub(super) fn new(level: u64) -> Self {
        Self {
            parts: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            level,
        }
    }

    /// Adds a record; those with the same key come together.
    ///
    /// # Errors
    /// The folder of temporary files cannot be written.
    pub(super) fn add(&mut self, key: &[u8], record: &[u8]) -> Result<()> {
        let mut hasher = FixedState::with_seed(self.level).build_hasher();
        hasher.write(key);
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

    /// Brings everything into memory: [`records`] reads it.
    ///
    /// # Errors
    /// The folder of temporary files cannot be read.
    pub(super) fn load(self) -> Result<Vec<u8>> {
        let Some(mut file) = self.file else {
            return Ok(self.buffer);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        file.rewind().map_err(unwritable)?;
        file.read_to_end(&mut bytes).map_err(unwritable)?;
        bytes.extend(self.buffer);
        if bytes.len() as u64 == self.bytes {
            Ok(bytes)
        } else {
            Err(unwritable(std::io::ErrorKind::UnexpectedEof.into()))
        }
    }

    /// Gives each record to `take`, as they came; only one is in memory.
    ///
    /// # Errors
    /// The folder of temporary files cannot be read, or `take` says so.
    pub(super) fn pour(self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut file: Box<dyn Read> = match self.file {
            Some(mut file) => {
                file.rewind().map_err(unwritable)?;
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
            None => Box::new(std::io::empty()),
        };
        let mut all = file.as_mut().chain(self.buffer.as_slice());
        let (mut left, mut record) = (self.bytes, Vec::new());
        while left > 0 {
            let mut length = [0; 4];
            all.read_exact(&mut length).map_err(unwritable)?;
            record.resize(u32::from_le_bytes(length) as usize, 0);
            all.read_exact(&mut record).map_err(unwritable)?;
            take(&record)?;
            left -= 4 + record.len() as u64;
        }
        Ok(())
    }
}

/// Gives the records of a partition that was loaded, as they came.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (record, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(record)
    })
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

#[cfg(test)]
mod tests {
    use super::super::records::{Reader, Writer};
    use super::*;

    fn record(key: &str, size: usize) -> Vec<u8> {
        let mut writer = Writer::default();
        let values = [None, Some("x".repeat(size))];
        writer.texts(&[key.to_owned()]).values(&values).number(7);
        writer.record().to_vec()
    }

    fn add(partitions: &mut Partitions, key: &str) {
        let record = record(key, 3000);
        let encoded = Reader(&record).texts().expect("a key").0.to_vec();
        partitions.add(&encoded, &record).expect("room");
    }

    fn key(record: &[u8]) -> String {
        let mut reader = Reader(record);
        let key = reader.texts().expect("a key").to_strings().concat();
        let values: Vec<_> = reader.values().expect("values").iter().collect();
        assert_eq!((values[0].is_none(), reader.number()), (true, Some(7)));
        assert!(values[1].is_some_and(|text| text.len() == 3000));
        key
    }

    /// Reads every partition: the keys in each.
    fn read(partitions: Partitions) -> Vec<Vec<String>> {
        let parts = partitions.into_parts().map(|part| {
            let bytes = part.load().expect("a file");
            records(&bytes).map(key).collect()
        });
        parts.collect()
    }

    #[test]
    fn every_record_comes_back_once_with_those_of_its_key() {
        // 9 MB: most of it has to go through files.
        let mut partitions = Partitions::new(0);
        for number in 0..3000 {
            add(&mut partitions, &format!("{}", number % 1500));
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
            add(&mut one, &number.to_string());
        }
        let together = one.into_parts().next().expect("a partition");
        let (mut two, mut poured) = (Partitions::new(1), 0);
        let pour = together.pour(|record| {
            poured += 1;
            let encoded = Reader(record).texts().expect("a key").0;
            two.add(encoded, record)
        });
        pour.expect("a file");
        assert!(poured > 3);
        let most = read(two).iter().map(Vec::len).max();
        assert!(most.is_some_and(|most| most < poured));
    }

    #[test]
    fn what_is_poured_is_what_was_put_in_through_a_file_or_not() {
        for count in [1, 200] {
            let mut part = Partition::default();
            for number in 0..count {
                part.add(&record(&number.to_string(), 3000)).expect("room");
            }
            assert_eq!(part.file.is_some(), count > 1);
            let mut keys = Vec::new();
            let pour = part.pour(|record| {
                keys.push(key(record));
                Ok(())
            });
            pour.expect("a file");
            let wanted: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            assert_eq!(keys, wanted);
        }
    }
}
