

# ---- Documents: the canonical text, its pieces, their ids and hashes ------------------------------------------------

BLANKS = "\t\n\x0b\x0c\r "
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
NEGATIVE_ZERO = re.compile(r"-0(\.0+)?")
json_text = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(slots=True)
class Chunk:
    """A row of the target without its vector."""

    id: bytes
    document: bytes  # the id of the document's first chunk
    number: int
    text: str
    hash: bytes
    source_key: str
    metadata: str


@dataclass(slots=True)
class Document:
    """What one root row becomes. Without chunks it is empty, or `problem` says why it cannot be stored."""

    id: bytes
    source_key: str
    chunks: list[Chunk] = field(default_factory=list)
    problem: str | None = None


def encoded(value: str | None) -> bytes:
    """Encodes a value so that no two lists of values give the same bytes: a tag, the length, the bytes."""
    if value is None:
        return b"N"
    data = value.encode("utf-8", "surrogateescape")
    return b"T" + len(data).to_bytes(8, "big") + data


def content_hash(text: str, metadata: Sequence[str | None]) -> bytes:
    """Gives the hash of a chunk's text and of the document's metadata."""
    return hashlib.sha256(b"".join([encoded(text), *map(encoded, metadata)])).digest()


def chunk_id(entity: str, key: Sequence[str], number: int) -> bytes:
    """Gives the id of a chunk: a UUID of RFC 9562's version 8."""
    digest = hashlib.sha256(b"".join([encoded(entity), *map(encoded, key), encoded(str(number))])).digest()
    data = bytearray(digest[:16])
    data[6] = (data[6] & 0x0F) | 0x80
    data[8] = (data[8] & 0x3F) | 0x80
    return bytes(data)


def metadata_value(data_type: str, text: str | None) -> str:
    """Gives a value as JSON of which `->>` gives the text back exactly."""
    if text is None:
        return "null"
    # Beyond a thousand digits PostgreSQL's numbers end somewhere, and its texts do not.
    numeric = data_type in ("integer", "decimal") and len(text) < 1000
    if numeric and NUMBER.fullmatch(text) and not NEGATIVE_ZERO.fullmatch(text):
        return text
    if data_type == "boolean" and text in ("true", "false"):
        return text
    return json_text(text)


def document_text(sections: Sequence[tuple[str, str | None, Cells]]) -> str:
    """Makes the document of sections that are (label, field value, child rows); see the plan's format for the rules."""
    lines = []
    for label, value, rows in sections:
        if value is not None and (trimmed := value.strip(BLANKS)):
            lines.append(f"{label}: {trimmed}")
        texts = [[cell.strip(BLANKS) for cell in row if cell is not None and cell.strip(BLANKS)] for row in rows]
        if any(texts):
            lines.append(f"{label}:")
            lines.extend("- " + " | ".join(text) for text in texts if text)
    return "\n".join(lines)


def pieces(text: str, limit: int) -> list[str]:
    """Cuts a text into pieces of at most `limit` bytes, after a line or a word if possible; joined they are it."""
    if len(text) * 4 <= limit or len(text.encode("utf-8", "surrogateescape")) <= limit:
        return [text] if text else []
    found = []
    start = 0
    while start < len(text):
        # So many characters fit if each has four bytes; grow while they are shorter.
        end = min(len(text), start + max(1, limit // 4))
        room = limit - len(text[start:end].encode("utf-8", "surrogateescape"))
        while end < len(text) and (width := len(text[end].encode("utf-8", "surrogateescape"))) <= room:
            room -= width
            end += 1
        if end < len(text):
            half = start + (end - start) // 2
            cut = text.rfind("\n", half, end) + 1 or text.rfind(" ", half, end) + 1
            end = cut or end
        found.append(text[start:end])
        start = end
    return found


def storable(text: str) -> str:
    """Gives a text that PostgreSQL can store, for the record of one that it cannot."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8", "replace")


def is_utf8(text: str) -> bool:
    """Says whether a text that was read had no bytes beside UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def problem_of(values: Iterable[str]) -> str | None:
    """Says why PostgreSQL cannot store one of these texts, if so."""
    for value in values:
        if "\0" in value:
            return "a value contains the character U+0000, which PostgreSQL cannot store"
        if not is_utf8(value):
            return "a value is not valid UTF-8"
    return None
