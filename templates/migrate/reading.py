

# ---- Reading documents, a page at a time ----------------------------------------------------------------------------


def root_pages(source: Source, queries: Queries, width: int) -> Iterator[list[Row]]:
    """Reads the root rows in pages, each after the last key of the one before; long rows make a page shorter."""
    sql, last = queries.first, list(queries.filter)
    while True:
        page: list[Row] = []
        size = 0
        with contextlib.closing(source.rows(sql, last)) as rows:
            for row in rows:
                values = [repr(value) if isinstance(value, float) else value for value in row[2 * width :]]
                row = (*row[: 2 * width], *values)
                page.append(row)
                size += sum(len(value) for value in row[width:] if value)
                if size >= PAGE_BYTES:
                    break
        if not page:
            return
        yield page
        sql, last = queries.after, [*queries.filter, *page[-1][:width]]


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


def documents(source: Source, entity: dict[str, Any]) -> Iterator[list[Document]]:
    """Makes the entity's documents in the order of its key, a page at a time; long ones make a page shorter."""
    width, queries = len(entity["key"]), queries_of(source, entity)
    for rows in root_pages(source, queries, width):
        bounds = [*queries.filter, *rows[0][:width], *rows[-1][:width]]
        children = [ChildRows(source.children(query, bounds, width)) for query in queries.children]
        page, size = [], 0
        for row in rows:
            document = document_of(entity, row[width:], [child.take(row[width : 2 * width]) for child in children])
            page.append(document)
            size += sum(len(chunk.text) for chunk in document.chunks)
            if size >= PAGE_BYTES:
                yield page
                page, size = [], 0
        if page:
            yield page
        if any(child.head is not None for child in children):
            raise Failure(
                f"entity `{entity['name']}`: child rows came in another order than their root rows; is its key unique?"
            )


def document_of(entity: dict[str, Any], row: Row, children: list[Cells]) -> Document:
    """Makes a document of the key, the fields' values and the metadata's, and of the rows of each children section."""
    name, width = entity["name"], len(entity["key"])
    values, rows = iter(row[width:]), iter(children)
    text = document_text([
        (item["label"], next(values), []) if item["section"] == "field" else (item["label"], None, next(rows))
        for item in entity["sections"]
    ])  # fmt: skip
    key, metadata = row[:width], list(values)
    document = Document(chunk_id(name, key, 0), json_object(entity["key"], [json_text(value) for value in key]))
    document.problem = problem_of([*key, text, *[value for value in metadata if value is not None]])
    if document.problem:
        document.source_key = json_object(entity["key"], [json_text(storable(value)) for value in key])
        return document
    # The JSON is put together here because a number has to keep the digits that the source gave it.
    types = [item["source"]["data_type"] for item in entity["metadata"]]
    kept = json_object(entity["metadata"], list(map(metadata_value, types, metadata)))
    for number, piece in enumerate(pieces(text, PLAN["embedding"]["chunk_tokens"] * ESTIMATE_BYTES_A_TOKEN)):
        identity = chunk_id(name, key, number) if number else document.id
        digest = content_hash(piece, metadata)
        document.chunks.append(Chunk(identity, document.id, number, piece, digest, document.source_key, kept))
    return document


def json_object(named: list[dict[str, Any]], values: list[str]) -> str:
    """Gives a JSON object of the names and of values that are JSON already."""
    pairs = [f"{json_text(item['name'])}: {value}" for item, value in zip(named, values, strict=True)]
    return "{" + ", ".join(pairs) + "}"
