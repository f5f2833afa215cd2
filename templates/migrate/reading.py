

# ---- Reading: pages of root rows by key, and the documents made of them ---------------------------------------------


def statement(entity: dict[str, Any], parts: dict[str, str], *bounds: str) -> str:
    """Puts a statement of the plan together: its head, the conditions that are asked of it, its tail."""
    terms = [entity["conditions"][name] for name in ("filter", *bounds)]
    where = " WHERE " + " AND ".join(filter(None, terms)) if any(terms) else ""
    return f"{parts['head']}{where}{parts['tail']}"


class EntityReader:
    """Reads an entity of the plan: the root rows whose keys are above `low` and up to `high`, where these are given."""

    def __init__(self, source: Source, entity: dict[str, Any], low: Sequence[Any] = (), high: Sequence[Any] = ()) -> None:
        self.source, self.entity, self.name, self.width = source, entity, entity["name"], len(entity["key"])
        self.key = object_of(entity["key"] or ["row", "occurrence"])
        self.low, self.high = low, high
        self.values = entity["bound"] | named("after", low) | named("until", high) | {"page": PAGE}
        self.labels = [section["label"] for section in entity["sections"]]
        self.fields = [section["children"] is None for section in entity["sections"]]
        self.children = [section["children"] for section in entity["sections"] if section["children"]]
        self.metadata = object_of([item["name"] for item in entity["metadata"]])
        self.types = [item["data_type"] for item in entity["metadata"]]
        self.limit = PLAN["embedding"]["chunk_tokens"] * ESTIMATE_BYTES_A_TOKEN

    def statement(self, parts: dict[str, str]) -> str:
        """Puts together a statement on all the root rows that are read."""
        return statement(self.entity, parts, *["after"] * bool(self.low), *["until"] * bool(self.high))

    def check(self) -> int:
        """Has the source plan every query and counts the root rows; refuses what the plan does not fit."""
        entity, width = self.entity, self.width
        try:
            anything = self.values | named("after", [None] * width) | named("from", [None] * width)
            anything |= named("until", [None] * width)
            page = statement(entity, entity["page"], *["after", "until"] * bool(width))
            child = [statement(entity, parts, "from", "until") for parts in self.children]
            for query in [page, *child]:
                self.source.first(self.source.EXPLAIN + query, anything)
            rows, nulls = self.source.first(self.statement(entity["count"]), self.values)
            counts = [
                [self.source.first(self.statement(parts), self.values)[0] for parts in pair] for pair in entity["joins"]
            ]
        except DATABASE_ERRORS as error:
            raise_if_lost(error)
            raise Failure(
                f"the source no longer fits the plan of entity `{self.name}`: {database_message(error)}; generate this"
                " file anew",
                "schema_drift",
            ) from None
        if nulls:
            raise Failure(f"entity `{self.name}`: {nulls} rows have NULL in their key; choose another key", "null_key")
        for plain, joined in counts:
            if plain != joined:
                raise Failure(
                    f"entity `{self.name}`: its joins make {joined} rows of {plain}; a table that it joins no longer has"
                    " the unique key of the plan; nothing was written",
                    "fan_out",
                )
        return int(rows)

    def root_pages(self) -> Iterator[list[tuple[Row, Row]]]:
        """Reads root rows in pages, each after the last key of the one before; long rows make a page shorter."""
        high = ["until"] * bool(self.high)
        if not self.width:
            rows = self.source.roots(self.statement(self.entity["page"]), self.values, 0)
            yield from paged(numbered(rows, self.entity["row"]))
            return
        low, values = ["after"] * bool(self.low), self.values
        while True:
            query = statement(self.entity, self.entity["page"], *low, *high)
            with contextlib.closing(self.source.roots(query, values, self.width)) as rows:
                page = next(paged(rows), [])
            if not page:
                return
            yield page
            low, values = ["after"], self.values | named("after", page[-1][0])

    def pages(self) -> Iterator[Page]:
        """Makes the documents in the order of the key; long ones make a page shorter."""
        for rows in self.root_pages():
            bounds = self.entity["bound"] | named("from", rows[0][0]) | named("until", rows[-1][0])
            children = [
                ChildRows(self.source.children(statement(self.entity, parts, "from", "until"), bounds, self.width))
                for parts in self.children
            ]
            page = Page()
            for _, row in rows:
                key = row[: self.width or 2]
                self._add(page, key, row[len(key) :], [child.take(key) for child in children])
                if page.size >= PAGE_BYTES:
                    yield page
                    page = Page()
            if page.documents:
                yield page
            if any(child.head is not None for child in children):
                raise Failure(
                    f"entity `{self.name}`: child rows came in another order than their root rows; is its key unique?"
                )

    def _add(self, page: Page, key: Row, values: Row, children: list[Cells]) -> None:
        """Makes a document of the key, the fields' values and the metadata's, and of the rows of each children section."""
        given, rows = iter(values), iter(children)
        sections = [
            (label, next(given), []) if is_field else (label, None, next(rows))
            for label, is_field in zip(self.labels, self.fields, strict=True)
        ]
        text, metadata = document_text(sections), list(given)
        page.documents += 1
        document = chunk_id(self.name, key, 0)
        source_key = self.key % tuple(map(json_text, key))
        problem = ""
        try:
            kept = (self.metadata % tuple(map(metadata_value, self.types, metadata))).encode()
            size = len(text.encode()) + len(source_key.encode())
            if "\0" in text or "\\u0000" in source_key or b"\\u0000" in kept:  # or a text that looks like that
                nul = any("\0" in value for value in (text, *key, *metadata) if value)
                problem = "a value contains the character U+0000, which PostgreSQL cannot store" * nul
        except UnicodeEncodeError:
            problem = "a value is not valid UTF-8"
        if problem:
            source_key = self.key % tuple([json_text(storable(value)) for value in key])
            page.refused.append((document, source_key, problem))
        if problem or not text:
            page.empty += not problem
            page.without_chunks.append(document)
            return
        page.size += size
        for number, piece in enumerate(pieces(text, self.limit)):
            identity = chunk_id(self.name, key, number) if number else document
            data, digest = piece.encode(), content_hash(piece, metadata)
            page.chunks.append(Chunk(identity, document, number, piece, data, digest, source_key, kept))


    def splits(self, shards: int) -> list[Row]:
        """Gives the keys that split the root rows into so many parts of about one size."""
        if not self.width or shards == 1:
            return [()] * (shards - 1)  # the first shard reads it whole
        (rows, _), query = self.source.first(self.statement(self.entity["count"]), self.values), self.entity["split"]
        ends = [self.values | {"skip": int(rows) * number // shards} for number in range(1, shards)]
        return [tuple(self.source.first(statement(self.entity, query), values)) for values in ends]


def numbered(rows: Iterable[tuple[Row, Row]], width: int) -> Iterator[tuple[Row, Row]]:
    """Gives rows without a key one: their hash, and their number among equal rows, which are neighbours."""
    last, number = "", 0
    for _, row in rows:
        digest = row_hash(row[:width])
        number = number + 1 if digest == last else 1
        last = digest
        yield (), (digest, str(number), *row[width:])


def paged(rows: Iterable[tuple[Row, Row]]) -> Iterator[list[tuple[Row, Row]]]:
    """Groups rows into pages."""
    page, size = [], 0
    for row in rows:
        page.append(row)
        size += sum(map(len, filter(None, row[1])))
        if len(page) >= PAGE or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


class ChildRows:
    """The child rows of a page, taken root row by root row: both come in the order of the root's key."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows
        self.head = next(rows, None)

    def take(self, key: Row) -> Cells:
        """Gives the children of the root row with this key."""
        if self.head is None or self.head[:-1] != key:
            return []
        taken: Cells = self.head[-1]
        self.head = next(self.rows, None)
        return taken
