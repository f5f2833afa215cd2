"""What only Python can show about templates/migrate: the rules of documents, pieces, ids, hashes and replies.

    python -m unittest discover -s tests/python

Run it with the requirements of templates/requirements-script.txt installed.
"""

from __future__ import annotations

import array
import base64
import builtins
import dis
import importlib.util
import json
import math
import pathlib
import sqlite3
import struct
import sys
import tempfile
import threading
import types
import unittest
import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock

from script import script_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
CANONICAL = json.loads((ROOT / "tests/fixtures/canonical.json").read_text())


def field(column: str, alias: str = "r", data_type: str = "text") -> dict[str, str]:
    return {"alias": alias, "column": column, "data_type": data_type}


def table(name: str) -> dict[str, str | None]:
    return {"schema": None, "name": name}


PLAN: dict[str, Any] = {
    "version": 1,
    "dialect": "sqlite",
    "target": {"schema": "public", "table": "relvec_documents"},
    "embedding": {
        "provider": "relvec", "base_url": "http://127.0.0.1:9/v1", "model": "m", "dimensions": None, "api_key_env": None,
        "batch_items": 3, "batch_tokens": 10, "concurrency": 1, "chunk_tokens": 4,
    },
    "entities": [
        {
            "name": "orders",
            "root": table("or'ders\"; --"),
            "key": [{"name": "id", "data_type": "text"}],
            "parents": [{"alias": "p1", "left": "r", "table": table("people"), "on": [{"from": "person", "to": "id"}]}],
            "sections": [
                {"section": "field", "label": "note", "source": field("100% {note}")},
                {
                    "section": "children", "label": "lines", "table": table("lines"),
                    "on": [{"from": "order_id", "to": "id"}], "parents": [], "columns": [field("text", "c")],
                    "order_by": [{"name": "code", "data_type": "text"}],
                },
                {"section": "field", "label": "person", "source": field("name", "p1")},
            ],
            "metadata": [{"name": "it's", "source": field("total", data_type="decimal")}],
        }
    ],
}  # fmt: skip


def load(plan: dict[str, Any], name: str = "generated_migrate") -> types.ModuleType:
    """Renders the script as the generator does and imports it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"{name}.py")
        path.write_text(script_of(plan))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module


def variant(dialect: str, provider: str) -> types.ModuleType:
    """Gives the script of another dialect and provider."""
    embedding = PLAN["embedding"] | {"provider": provider}
    return load(PLAN | {"dialect": dialect, "embedding": embedding}, f"generated_{dialect}_{provider}")


def global_names(code: types.CodeType) -> Iterator[str]:
    """Gives the names that a piece of code and those in it look for outside themselves."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


migrate = load(PLAN)


class Rules(unittest.TestCase):
    def test_documents(self) -> None:
        for case in CANONICAL["documents"]:
            sections = [(s["label"], s.get("value"), s.get("rows", [])) for s in case["sections"]]
            with self.subTest(case["case"]):
                self.assertEqual(migrate.document_text(sections), case["document"])

    def test_hashes(self) -> None:
        for case in CANONICAL["hashes"]:
            self.assertEqual(migrate.content_hash(case["text"], case["metadata"]).hex(), case["sha256"])

    def test_ids(self) -> None:
        for case in CANONICAL["ids"]:
            made = uuid.UUID(bytes=migrate.chunk_id(case["entity"], case["key"], case["chunk"]))
            self.assertEqual((str(made), made.version), (case["id"], 8))

    def test_metadata(self) -> None:
        for case in CANONICAL["metadata"]:
            self.assertEqual(migrate.metadata_value(case["data_type"], case["text"]), case["json"], case)

    def test_pieces_are_the_text_again_and_fit(self) -> None:
        texts = ["", "a", "one two three four five\nsix seven", "é" * 50, "😀" * 20, "x" * 100, "a b " * 30 + "\n" * 30]
        for text in texts:
            for limit in (4, 5, 16, 17, 64, 1000):
                pieces = migrate.pieces(text, limit)
                self.assertEqual("".join(pieces), text)
                self.assertTrue(all(0 < len(piece.encode()) <= limit for piece in pieces), (text, limit))
        self.assertEqual(migrate.pieces("one two\nthree four", 12), ["one two\n", "three four"])

    def test_batches_hold_items_and_tokens(self) -> None:
        batcher = migrate.Batcher()
        chunks = [migrate.Chunk(b"", b"", 0, text, b"", "", "") for text in ["a", "b", "c", "d", "x" * 39, "y"]]
        batches = [batch for chunk in chunks if (batch := batcher.add(chunk))] + [batcher.take()]
        self.assertEqual(
            [[chunk.text for chunk in batch] for batch in batches], [["a", "b", "c"], ["d", "x" * 39], ["y"]]
        )


class Parts(unittest.TestCase):
    def test_no_combination_lacks_a_name(self) -> None:
        for dialect in ("sqlite", "postgres"):
            for provider in ("relvec", "openai", "gemini", "local"):
                with self.subTest(f"{dialect}, {provider}"):
                    plan = PLAN | {"dialect": dialect, "embedding": PLAN["embedding"] | {"provider": provider}}
                    wanted = set(global_names(compile(script_of(plan), "migrate.py", "exec")))
                    known = vars(variant(dialect, provider)).keys() | vars(builtins).keys()
                    self.assertIn("Embedder", wanted)
                    self.assertEqual(wanted - known, set())

    def test_postgres_reads_keys_as_texts(self) -> None:
        postgres = variant("postgres", "relvec")
        source = mock.Mock(is_bytewise=lambda _table, _column: False)
        queries = postgres.queries_of(source, PLAN["entities"][0])
        self.assertIn('WHERE (CAST(r."id" AS TEXT) COLLATE "C") > ($1) ORDER BY', queries.after)
        key = 'SELECT CAST(r."id" AS TEXT), CAST(json_agg('
        self.assertEqual([query[: len(key)] for query in queries.children], [key])


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name, "a % b?#.db")
        database = sqlite3.connect(self.path)
        database.executescript(
            """CREATE TABLE "or'ders""; --" (id TEXT PRIMARY KEY COLLATE NOCASE, "100% {note}" TEXT, total DECIMAL, person);
            CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE lines (order_id TEXT, code TEXT, text TEXT);
            INSERT INTO people VALUES (1, 'Ada');
            INSERT INTO "or'ders""; --" VALUES ('b', ' tea ', 1.5, 1), ('B2', NULL, NULL, 7), ('a', 'mug', 2, NULL),
                ('nul', 'x' || char(0) || 'y', 0, 1), ('bad', CAST(x'ff' AS TEXT), 0, 1);
            INSERT INTO lines VALUES ('b', 'z', 'last'), ('b', 'B', 'first'), ('b', 'a', ' '), ('gone', 'x', 'no root'),
                ('nul', 'x', 'of nul');"""
        )
        database.commit()
        database.close()
        self.source = migrate.SqliteSource(f"sqlite:{self.path}")

    def tearDown(self) -> None:
        self.source.connection.close()
        self.folder.cleanup()

    def documents(self) -> list[Any]:
        return [document for page in migrate.documents(self.source, PLAN["entities"][0]) for document in page]

    def test_pages_of_any_size_give_the_same_documents(self) -> None:
        whole = self.documents()
        for rows, size in ((1, 1 << 20), (2, 1 << 20), (3, 1 << 20), (4096, 1), (4096, 9)):
            with mock.patch.multiple(migrate, PAGE=rows, PAGE_BYTES=size):
                self.assertEqual(self.documents(), whole, (rows, size))

    def test_each_page_asks_once_for_each_children_section(self) -> None:
        asked: list[bool] = []
        self.source.connection.set_trace_callback(lambda sql: asked.append("json_group_array" in sql))
        with mock.patch.object(migrate, "PAGE", 2):
            self.documents()
        self.assertEqual(sum(asked), 3)

    def test_a_filter_is_bound_and_holds_on_every_page(self) -> None:
        def condition(column: str, data_type: str, op: str, *values: str) -> dict[str, Any]:
            return {"column": {"name": column, "data_type": data_type}, "op": op, "values": list(values)}

        for filters, expected in (
            ([condition("total", "decimal", "gt", "1.25")], {"a", "b"}),
            ([condition("total", "decimal", "is_null")], {"B2"}),
            ([condition("id", "text", "in", "a", "b', '"), condition("id", "text", "ne", "b")], {"a"}),
            ([condition("100% {note}", "text", "like", "m_g"), condition("person", "integer", "is_null")], {"a"}),
            ([condition("id", "text", "eq", "x' OR '1' = '1")], set()),
        ):
            entity = PLAN["entities"][0] | {"filter": filters}
            for rows in (1, 4096):
                with mock.patch.multiple(migrate, PAGE=rows), self.subTest(filters=filters, rows=rows):
                    found = [document for page in migrate.documents(self.source, entity) for document in page]
                    self.assertEqual({json.loads(document.source_key)["id"] for document in found}, expected)
            with mock.patch.dict(migrate.PLAN, entities=[entity]):
                self.assertEqual(migrate.check_queries(self.source), {"orders": len(expected)})

    def test_null_in_a_key_is_a_failure(self) -> None:
        self.source.connection.close()
        other = sqlite3.connect(self.path)
        other.execute("""INSERT INTO "or'ders""; --" (id) VALUES (NULL)""")
        other.commit()
        other.close()
        self.source = migrate.SqliteSource(f"sqlite:{self.path}")
        with self.assertRaisesRegex(migrate.Failure, "1 rows have NULL"):
            migrate.check_queries(self.source)

    def test_one_document_a_root_row(self) -> None:
        self.assertEqual(migrate.check_queries(self.source), {"orders": 5})
        found = {json.loads(d.source_key)["id"]: d for d in self.documents()}
        texts = {key: "".join(chunk.text for chunk in document.chunks) for key, document in found.items()}
        self.assertEqual(
            texts,
            {"B2": "", "a": "note: mug", "b": "note: tea\nlines:\n- first\n- last\nperson: Ada", "bad": "", "nul": ""},
        )
        self.assertEqual({key for key, document in found.items() if document.problem}, {"bad", "nul"})
        self.assertEqual(found["b"].chunks[0].metadata, '{"it\'s": 1.5}')
        self.assertTrue(all(chunk.document == found["b"].id for chunk in found["b"].chunks))
        self.assertEqual(found["b"].chunks[0].id, migrate.chunk_id("orders", ["b"], 0))

    def test_the_source_is_only_read(self) -> None:
        with self.assertRaises(sqlite3.OperationalError):
            self.source.connection.execute("DELETE FROM people")

    def test_a_plan_that_no_longer_fits_is_a_failure(self) -> None:
        self.source.connection.close()
        other = sqlite3.connect(self.path)
        other.execute("ALTER TABLE people RENAME COLUMN name TO title")
        other.close()
        self.source = migrate.SqliteSource(f"sqlite:{self.path}")
        with self.assertRaisesRegex(migrate.Failure, "entity `orders`"):
            migrate.check_queries(self.source)


class Replies(unittest.TestCase):
    def embedder(self, reply: Any) -> Any:
        embedder = migrate.Embedder(threading.Event(), migrate.Usage())
        embedder._post = lambda _url, body: reply(body) if callable(reply) else reply
        embedder.dimensions = 2
        return embedder

    @staticmethod
    def item(index: int, *numbers: float) -> dict[str, Any]:
        return {"index": index, "embedding": base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()}

    def test_vectors_come_in_the_order_of_the_texts(self) -> None:
        embedder = self.embedder({"data": [self.item(1, 0.5, 2), {"index": 0, "embedding": [1, -1]}]})
        head = struct.pack(">hh", 2, 0)
        expected = [head + struct.pack(">ff", 1, -1), head + struct.pack(">ff", 0.5, 2)]
        self.assertEqual(embedder.embed(["a", "b"]), expected)

    def test_a_reply_of_another_shape_is_refused_whole(self) -> None:
        good = self.item(0, 1, 1)
        for data in ([good], [good, good], [good, self.item(2, 1, 1)], [good, {"index": 1, "embedding": "?"}], None, [good, 1],
                     [good, {"index": 1, "embedding": None}], [good, {"index": 1, "embedding": "AAAA"}]):  # fmt: skip
            with self.subTest(data), self.assertRaisesRegex(migrate.Failure, "cannot be used"):
                self.embedder({"data": data}).embed(["a", "b"])

    def test_gemini(self) -> None:
        gemini = variant("sqlite", "gemini")
        post = mock.Mock(return_value={"embeddings": [{"values": [1, -1]}]})
        with mock.patch.dict("os.environ", {"EMBEDDING_API_KEY": "hunter22"}):
            embedder = gemini.Embedder(threading.Event(), gemini.Usage())
        embedder._post = post
        self.assertEqual(embedder.headers, {"x-goog-api-key": "hunter22"})
        self.assertEqual(embedder.query("tea"), [1, -1])
        url, body = post.call_args.args
        self.assertEqual(url, "http://127.0.0.1:9/v1/models/m:batchEmbedContents")
        self.assertEqual(body["requests"][0]["taskType"], "RETRIEVAL_QUERY")
        with self.assertRaisesRegex(gemini.Failure, "cannot be used"):
            embedder.embed(["a", "b"])

    def test_a_model_in_this_process(self) -> None:
        local = variant("sqlite", "local")
        model = mock.Mock(encode=lambda texts: [array.array("f", [len(text), 1]) for text in texts])
        library = types.SimpleNamespace(SentenceTransformer=lambda _name: model)
        with mock.patch.dict(sys.modules, {"sentence_transformers": library}):
            embedder = local.Embedder(threading.Event(), local.Usage())
        self.assertEqual((embedder.probe(), embedder.concurrency), (2, 1))
        head = struct.pack(">hh", 2, 0)
        self.assertEqual(embedder.embed(["abc"]), [head + struct.pack(">ff", 3, 1)])

    def test_another_dimension_is_a_failure(self) -> None:
        with self.assertRaisesRegex(migrate.Failure, "3 numbers where 2"):
            self.embedder({"data": [self.item(0, 1, 1, 1)]}).embed(["a"])

    def test_only_the_text_with_a_bad_vector_is_set_aside(self) -> None:
        for bad in ((0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)):

            def reply(body: Any, bad: Any = bad) -> Any:
                numbers = [bad if text == "bad" else (3, 4) for text in body["input"]]
                return {"data": [self.item(n, *pair) for n, pair in enumerate(numbers)]}

            answers = self.embedder(reply).embed(["a", "b", "bad", "c", "d"])
            self.assertEqual([isinstance(answer, str) for answer in answers], [False, False, True, False, False])

    def test_halfvec_above_its_limit(self) -> None:
        embedder = self.embedder({})
        embedder.dimensions = migrate.VECTOR_LIMIT + 1
        packed = embedder._packed(array.array("f", [0.5] * embedder.dimensions))
        self.assertEqual(packed, struct.pack(">hh", 2001, 0) + struct.pack(">2001e", *[0.5] * 2001))
        for number in (1e6, 1e-9):
            with self.assertRaises(migrate.TextRefused):
                embedder._packed(array.array("f", [number] * embedder.dimensions))


class Urls(unittest.TestCase):
    def test_parts_are_decoded(self) -> None:
        found = migrate.postgres_parameters("postgres://me:p%40ss@[::1]:5433/my%20db?sslmode=require", "target")
        wanted = {
            "user": "me",
            "password": "p@ss",
            "host": "::1",
            "port": "5433",
            "dbname": "my db",
            "sslmode": "require",
        }
        self.assertEqual({key: found[key] for key in wanted}, wanted)

    def test_messages_never_hold_a_secret(self) -> None:
        for url in (
            "postgres://me:hunter22%zz@h/db",
            "postgres://me:hunter22@h/db?passfile=/x",
            "mysql://me:hunter22@h/db",
        ):
            with self.assertRaises(migrate.Failure) as caught:
                migrate.postgres_parameters(url, "source")
            self.assertNotIn("hunter22", str(caught.exception))
        migrate.keep_secret("hun/ter22")
        self.assertEqual(migrate.redact("a hun/ter22 b hun%2Fter22"), "a *** b ***")


if __name__ == "__main__":
    unittest.main()
