//! The records that an entity's rows become on their way through [`partitions`](super::partitions): values with their lengths, read back
//! without a copy.
//!
//! ```text
//! row of the source:    key │ text │ metadata
//! row of the target:    key │ id │ chunk │ text │ hash │ metadata │ whether it has the planned names │ what is wrong with its vector
//! ```

use crate::service::target::TargetChunk;
use crate::source::SourceDocument;

/// A row of the source.
pub(super) struct SourceRecord<'a> {
    pub key: Texts<'a>,
    pub content: &'a str,
    pub metadata: Values<'a>,
}

impl<'a> SourceRecord<'a> {
    /// Writes a document.
    pub(super) fn write(document: &SourceDocument, writer: &mut Writer) {
        writer.clear().texts(&document.key);
        writer.bytes(document.content.as_bytes());
        writer.values(&document.metadata);
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(record);
        Some(Self {
            key: reader.texts()?,
            content: reader.text()?,
            metadata: reader.values()?,
        })
    }
}

/// A row of the target.
pub(super) struct TargetRecord<'a> {
    pub key: Texts<'a>,
    pub id: &'a [u8],
    pub chunk: i32,
    pub content: &'a str,
    pub content_hash: &'a [u8],
    pub metadata: Values<'a>,
    pub metadata_names: bool,
    /// A number for what is wrong with its vector.
    pub fault: u32,
}

impl<'a> TargetRecord<'a> {
    /// Writes a chunk.
    pub(super) fn write(key: &[String], chunk: &TargetChunk, fault: u32, writer: &mut Writer) {
        writer.clear().texts(key);
        writer
            .bytes(chunk.id.as_bytes())
            .number(chunk.chunk.cast_unsigned())
            .bytes(chunk.content.as_bytes())
            .bytes(&chunk.content_hash)
            .values(&chunk.metadata)
            .number(u32::from(chunk.metadata_names))
            .number(fault);
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(record);
        Some(Self {
            key: reader.texts()?,
            id: reader.bytes()?,
            chunk: reader.number()?.cast_signed(),
            content: reader.text()?,
            content_hash: reader.bytes()?,
            metadata: reader.values()?,
            metadata_names: reader.number()? == 1,
            fault: reader.number()?,
        })
    }
}

/// Texts as they are written: equal texts are equal bytes, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Texts<'a>(pub &'a [u8]);

impl<'a> Texts<'a> {
    /// Gives the bytes of each.
    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader(self.0);
        std::iter::from_fn(move || reader.bytes())
    }

    /// Gives them.
    pub(super) fn to_strings(self) -> Vec<String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.iter().map(text).collect()
    }
}

/// Texts that may be absent, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// Gives the bytes of each.
    pub(super) fn iter(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut reader = Reader(self.0);
        std::iter::from_fn(move || match reader.take(1)? {
            [0] => Some(None),
            _ => reader.bytes().map(Some),
        })
    }
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

    /// Adds texts.
    pub(super) fn texts(&mut self, texts: &[String]) -> &mut Self {
        self.list(|writer| {
            for text in texts {
                writer.bytes(text.as_bytes());
            }
        })
    }

    /// Adds texts that may be absent.
    pub(super) fn values(&mut self, values: &[Option<String>]) -> &mut Self {
        self.list(|writer| {
            for value in values {
                writer.0.push(u8::from(value.is_some()));
                if let Some(text) = value {
                    writer.bytes(text.as_bytes());
                }
            }
        })
    }

    /// Adds what `write` does, with its length.
    fn list(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len() + size_of::<u64>();
        self.0.extend([0; size_of::<u64>()]);
        write(self);
        let length = (self.0.len() - start) as u64;
        self.0[start - size_of::<u64>()..start].copy_from_slice(&length.to_le_bytes());
        self
    }

    /// Gives the record.
    pub(super) fn record(&self) -> &[u8] {
        &self.0
    }

    /// Gives the record's key, which [`Self::texts`] wrote first.
    pub(super) fn key(&self) -> &[u8] {
        Reader(&self.0).texts().map_or(&[], |key| key.0)
    }
}

/// Reads the values of a record in the order in which they were written; nothing where they are not there.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a number.
    pub(super) fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    /// Takes bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    /// Takes a text.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Takes texts.
    pub(super) fn texts(&mut self) -> Option<Texts<'a>> {
        self.bytes().map(Texts)
    }

    /// Takes texts that may be absent.
    pub(super) fn values(&mut self) -> Option<Values<'a>> {
        self.bytes().map(Values)
    }
}
