

# ---- Reading: pages of root rows by key, and the documents made of them ---------------------------------------------


def statement(entity: dict[str, Any], parts: dict[str, str], *bounds: str) -> str:
    """Puts a statement of the plan together: its head, the conditions that are asked of it, its tail."""
    terms = [entity["conditions"][name] for name in ("filter", *bounds)]
    where = " WHERE " + " AND ".join(filter(None, terms)) if any(terms) else ""
    return f"{parts['head']}{where}{parts['tail']}"


def named(prefix: str, values: Sequence[Any]) -> Values:
    """Names the values of a key as the plan's statements have them."""
    return {f"{prefix}_{number}": value for number, value in enumerate(values)}


class EntityReader:
    """Reads an entity of the plan: the root rows whose keys are above `low` and up to `high`, where these are given."""

    def __init__(self, source: Source, entity: dict[str, Any], low: Sequence[Any] = (), high: Sequence[Any] = ()) -> None:
        self.source, self.entity, self.name, self.width = source, entity, entity["name"], len(entity["key"])
        self.bounds = ["after"] * bool(low) + ["until"] * bool(high)
        self.values = entity["bound"] | named("after", low) | named("until", high) | {"page": FIRST_PAGE}
        self.labels = [(section["label"], section["children"] is None) for section in entity["sections"]]
        self.children = [section["children"] for section in entity["sections"] if section["children"]]
        self.key = object_of(entity["key"] or ["row", "occurrence"])
        self.metadata = object_of([item["name"] for item in entity["metadata"]])
        self.as_json = [METADATA_VALUES.get(item["data_type"], text_value) for item in entity["metadata"]]
        self.code = encoded(self.name)
        self.limit = PLAN["embedding"]["chunk_tokens"] * BYTES_A_TOKEN

    def first(self, parts: dict[str, str], **values: Any) -> Row:
        """Gives the first row of a statement on all the root rows that are read."""
        return self.source.first(statement(self.entity, parts, *self.bounds), self.values | values)

    def check(self) -> int:
        """Has the source plan every query and counts the root rows; refuses what the plan does not fit."""
        name, nothing = self.name, [None] * self.width
        anything = self.values | named("after", nothing) | named("from", nothing) | named("until", nothing)
        queries = [(self.entity["page"], ["after", "until"]), *((parts, ["from", "until"]) for parts in self.children)]
        try:
            for parts, bounds in queries:
                self.source.first("EXPLAIN " + statement(self.entity, parts, *bounds), anything)
            rows, nulls = self.first(self.entity["count"])
            joins = [[self.first(parts)[0] for parts in pair] for pair in self.entity["joins"]]
        except DATABASE_ERRORS as error:
            raise_if_lost(error)
            text = f"the source no longer fits the plan of entity `{name}`: {database_message(error)}; generate this file anew"
            raise Failure(text, "schema_drift") from None
        if nulls:
            raise Failure(f"entity `{name}`: {nulls} rows have NULL in their key; choose another key", "null_key")
        for plain, joined in joins:
            if plain != joined:
                text = f"entity `{name}`: its joins make {joined} rows of {plain}, so a key of the plan is not unique any more"
                raise Failure(f"{text}; nothing was written", "fan_out")
        return int(rows)

    def splits(self, shards: int) -> list[Row]:
        """Gives the keys that split the root rows into so many parts of about one size; without a key the first is all."""
        if not self.width:
            return [()] * (shards - 1)
        rows = int(self.first(self.entity["count"])[0])
        return [tuple(self.first(self.entity["split"], skip=rows * part // shards)) for part in range(1, shards)]

    def root_pages(self) -> Iterator[list[tuple[Row, Row]]]:
        """Reads root rows in pages, each after the last key of the one before; long rows make a page shorter."""
        bounds, values = self.bounds, dict(self.values)
        while True:
            rows = self.source.roots(statement(self.entity, self.entity["page"], *bounds), values, self.width)
            if not self.width:
                yield from paged(numbered(rows, self.entity["row"]))
                return
            with contextlib.closing(rows):
                page = next(paged(rows), [])
            if not page:
                return
            yield page
            bounds = ["after"] + ["until"] * ("until" in bounds)
            values |= named("after", page[-1][0]) | {"page": min(PAGE, 2 * values["page"])}

    def pages(self) -> Iterator[Page]:
        """Makes the documents in the order of the key; long ones make a page shorter."""
        for rows in self.root_pages():
            values = self.values | named("from", rows[0][0]) | named("until", rows[-1][0])
            queries = [statement(self.entity, parts, "from", "until") for parts in self.children]
            children = [ChildRows(self.source.children(query, values, self.width)) for query in queries]
            page = Page()
            for _, row in rows:
                key = row[: self.width or 2]
                self._add(page, key, iter(row[len(key) :]), iter([child.take(key) for child in children]))
                if page.size >= PAGE_BYTES:
                    yield page
                    page = Page()
            if page.documents:
                yield page
            if any(child.head is not None for child in children):
                raise Failure(f"entity `{self.name}`: child rows came in another order than their root rows")

    def _add(self, page: Page, key: Row, values: Iterator[Any], rows: Iterator[Cells]) -> None:
        """Makes a document of the key, the fields' values and the metadata's, and of the rows of each children section."""
        text = document_text(
            [(label, next(values), []) if is_field else (label, None, next(rows)) for label, is_field in self.labels]
        )
        metadata, problem = list(values), ""
        code = self.code + b"".join(map(encoded, key))
        document, source_key = chunk_id(code, 0), self.key % tuple(map(json_text, key))
        page.documents += 1
        try:
            kept = (self.metadata % tuple([as_json(value) for as_json, value in zip(self.as_json, metadata, strict=True)])).encode()
            data, size = text.encode(), len(source_key.encode())
            if "\0" in text or "\\u0000" in source_key or b"\\u0000" in kept:  # or a text that looks like that
                nul = any("\0" in value for value in (text, *key, *metadata) if value)
                problem = "a value contains the character U+0000, which PostgreSQL cannot store" * nul
        except UnicodeEncodeError:
            problem = "a value is not valid UTF-8"
        if problem or not text:
            page.empty += not problem
            page.without_chunks.append(document)
            if problem:
                stored = self.key % tuple([json_text(storable(value)) for value in key])
                page.refused.append((document, stored, problem))
            return
        page.size += size + len(data)
        tail = b"".join(map(encoded, metadata))
        for number, piece in enumerate(pieces(data, self.limit) if len(data) > self.limit else (data,)):
            identity, part = chunk_id(code, number) if number else document, piece.decode()
            chunk = Chunk(identity, document, number, part, piece, content_hash(piece, tail), source_key, kept)
            page.chunks.append(chunk)


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
        self.rows, self.head = rows, next(rows, None)

    def take(self, key: Row) -> Cells:
        """Gives the children of the root row with this key."""
        if self.head is None or self.head[:-1] != key:
            return []
        taken: Cells = self.head[-1]
        self.head = next(self.rows, None)
        return taken
