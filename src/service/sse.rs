//! Server-sent events as they come in: the parser of the HTML standard, section 9.2.6, without what relvec's gateway never sends.

/// An event with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The last `id` that was given.
    pub id: String,
    /// The lines of its `data`.
    pub data: String,
}

/// Takes a stream's bytes in pieces of any size and gives the events in them.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_return: bool,
    id: String,
    data: Option<String>,
}

impl Parser {
    /// Takes a piece and gives the events that it completes. What comes after the last blank line is no event: the stream was cut off.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Sent> {
        let mut events = Vec::new();
        for byte in piece {
            let was_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if was_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                other => self.line.push(*other),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Sent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let data = self.data.take()?;
            let id = self.id.clone();
            return Some(Sent { id, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut self.id),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, which is a sign of life, or a field that is not used here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": alive\n\nid: 1\ndata: {\"a\":\"b: c\"}\n\nid:2\r\ndata: one\r\ndata:two\r\n\r\nevent: x\rdata\r\rid: 3\ndata: cut";

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let sent = |id: &str, data: &str| Sent {
            id: id.to_owned(),
            data: data.to_owned(),
        };
        let wanted = [
            sent("1", "{\"a\":\"b: c\"}"),
            sent("2", "one\ntwo"),
            sent("2", ""),
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let found: Vec<Sent> = pieces.flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(found, wanted, "pieces of {size}");
        }
    }
}
