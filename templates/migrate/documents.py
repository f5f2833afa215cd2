

# ---- Documents: the canonical text, its pieces, their ids and hashes ------------------------------------------------

TEXT_HEAD = struct.Struct(">cQ").pack
BLANKS = "\t\n\x0b\x0c\r "
NUMBER = re.compile(r"(?!-0(\.0+)?\Z)-?(0|[1-9][0-9]*)(\.[0-9]+)?")  # but not a negative zero


@dataclass(slots=True)
class Chunk:
    """A row of the target without its vector."""

    id: bytes
    document: bytes  # the id of the document's first chunk
    number: int
    text: str
    data: bytes  # the text in UTF-8
    hash: bytes
    source_key: str
    metadata: bytes
    known: bool = False  # the target has it, with another hash or of another model


Refused = tuple[bytes, str, str]  # a document's id, its source key, the reason


@dataclass(slots=True)
class Page:
    """What some root rows became: chunks, nothing, or a reason why a document cannot be stored."""

    documents: int = 0
    empty: int = 0
    size: int = 0  # in bytes of text
    chunks: list[Chunk] = field(default_factory=list)
    without_chunks: list[bytes] = field(default_factory=list)  # ids of documents
    refused: list[Refused] = field(default_factory=list)


def encoded(value: str | None) -> bytes:
    """Encodes a value so that no two lists of values give the same bytes: a tag, the length, the bytes."""
    return b"N" if value is None else sized_text(value.encode("utf-8", "surrogateescape"))


def sized_text(data: bytes) -> bytes:
    """Encodes a value that is there."""
    return TEXT_HEAD(b"T", len(data)) + data


def content_hash(data: bytes, metadata: bytes) -> bytes:
    """Gives the hash of a chunk's text and of the document's metadata, which is encoded already."""
    return hashlib.sha256(sized_text(data) + metadata).digest()


def row_hash(row: Sequence[str | None]) -> str:
    """Gives what stands for the key of a row without one."""
    return hashlib.sha256(b"".join(map(encoded, row))).hexdigest()


def chunk_id(document: bytes, number: int) -> bytes:
    """Gives the id of a chunk, a UUID of RFC 9562's version 8; its entity and its document's key are encoded already."""
    digest = hashlib.sha256(document + sized_text(b"%d" % number)).digest()
    return b"%b%c%c%c%b" % (digest[:6], digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80, digest[9:16])


def number_value(text: str | None) -> str:
    """Gives a value of a column of numbers as JSON of which `->>` gives the text back exactly."""
    if text is None:
        return "null"
    # Beyond a thousand digits PostgreSQL's numbers end somewhere, and its texts do not.
    is_plain = text.isdecimal() and text.isascii() and text[0] != "0"
    return text if len(text) < 1000 and (is_plain or NUMBER.fullmatch(text)) else json_text(text)


def text_value(text: str | None) -> str:
    """Gives a value of another column as JSON."""
    return "null" if text is None else json_text(text)


def boolean_value(text: str | None) -> str:
    """Gives a value of a column of booleans as JSON."""
    return text if text in ("true", "false") else text_value(text)


METADATA_VALUES = {"integer": number_value, "decimal": number_value, "boolean": boolean_value}  # others are texts


def object_of(names: Sequence[str]) -> str:
    """Gives a JSON object with a place for each value, which is JSON already: a number keeps the source's digits."""
    return "{" + ", ".join([f"{json_text(name).replace('%', '%%')}: %s" for name in names]) + "}"


def document_text(sections: Iterable[tuple[str, str | None, Cells]]) -> str:
    """Makes the document of sections that are (label, field value, child rows)."""
    lines = []
    for label, value, rows in sections:
        if value and (trimmed := value.strip(BLANKS)):
            lines.append(f"{label}: {trimmed}")
        if rows:
            texts = [[cell.strip(BLANKS) for cell in row if cell is not None and cell.strip(BLANKS)] for row in rows]
            lines += [f"{label}:"] * any(texts) + ["- " + " | ".join(text) for text in texts if text]
    return "\n".join(lines)


def pieces(data: bytes, limit: int) -> list[bytes]:
    """Cuts a text into pieces of at most `limit` bytes, after a line or a word if possible; joined they are it."""
    found, start = [], 0
    while start < len(data):
        end = min(start + limit, len(data))
        if end < len(data):
            while data[end] & 0xC0 == 0x80:  # not within a character
                end -= 1
            half = start + limit // 2
            end = data.rfind(b"\n", half, end) + 1 or data.rfind(b" ", half, end) + 1 or end
        found.append(data[start:end])
        start = end
    return found


def storable(text: str) -> str:
    """Gives a text that PostgreSQL can store, for the record of one that it cannot."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8", "replace")
