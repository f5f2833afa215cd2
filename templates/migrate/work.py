

# ---- What is to be written ------------------------------------------------------------------------------------------

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TAIL = struct.pack(">h", -1)
COLUMNS = "id, entity, source_key, chunk, content, content_hash, embedding, metadata"


def copy_row(*values: bytes) -> bytes:
    """Gives a row in the format of binary COPY."""
    return struct.pack(">h", len(values)) + b"".join(struct.pack(">i", len(value)) + value for value in values)


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
    lost: int = 0


@dataclass
class Work:
    """What is to be written: a page of documents that were read, or a batch that is being embedded."""

    entity: str
    read: list[Document] = field(default_factory=list)
    batch: list[Chunk] = field(default_factory=list)
    vectors: Future[list[bytes | str]] | None = None

    def is_ready(self) -> bool:
        """Says whether its vectors need not be waited for."""
        return self.vectors is None or self.vectors.done()
