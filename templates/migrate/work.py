

# ---- What is to be written ------------------------------------------------------------------------------------------

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TAIL = struct.pack(">h", -1)
COLUMNS = "id, entity, model, chunk, content_hash, source_key, content, metadata, embedding"


def sized(data: bytes) -> bytes:
    """Gives a value of a row of binary COPY."""
    return struct.pack(">i", len(data)) + data


class Rows:
    """Makes the rows of one entity in the format of binary COPY."""

    def __init__(self, entity: str, shard: int) -> None:
        self.names = sized(entity.encode()) + sized(PLAN["embedding"]["model"].encode())
        self.tail = sized(entity.encode()) + struct.pack(">iii", 4, shard, 1)
        # Count of columns and id; entity and model; chunk; hash; length and version of the key's jsonb.
        self.head = struct.Struct(f">hi16s{len(self.names)}siii32siB").pack

    def stored(self, chunk: Chunk, vector: bytes) -> bytes:
        """Gives a chunk as a row of the target."""
        key = chunk.source_key.encode()
        return b"".join((
            self.head(9, 16, chunk.id, self.names, 4, chunk.number, 32, chunk.hash, len(key) + 1, 1), key,
            struct.pack(">i", len(chunk.data)), chunk.data,
            struct.pack(">iB", len(chunk.metadata) + 1, 1), chunk.metadata,
            struct.pack(">i", len(vector)), vector,
        ))  # fmt: skip

    def seen(self, identity: bytes, document: bytes, stored: bool) -> bytes:
        """Gives a chunk, or a document without any, as a row of the table of what the source has."""
        return b"\0\5\0\0\0\x10%b\0\0\0\x10%b%b%c" % (identity, document, self.tail, stored)


@dataclass
class Counts:
    """What happened to one entity."""

    source_rows: int = 0
    documents: int = 0
    chunks: int = 0
    embedded: int = 0
    unchanged: int = 0
    empty: int = 0
    quarantined: int = 0
    removed: int = 0
    kept: int = 0
    lost: int = 0


@dataclass
class Work:
    """What is to be written: a page of documents that were read, or a batch that is being embedded."""

    entity: str
    read: Page = field(default_factory=Page)
    batch: list[Chunk] = field(default_factory=list)
    vectors: Future[tuple[bytes, list[tuple[bytes, str, str]]]] | None = None  # rows, and what the API refused

    def is_ready(self) -> bool:
        """Says whether its vectors need not be waited for."""
        return self.vectors is None or self.vectors.done()
