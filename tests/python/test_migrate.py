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
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from script import script_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
CANONICAL = json.loads((ROOT / "tests/fixtures/canonical.json").read_text())




def made_plan(dialect: str) -> dict[str, Any]:
    """Gives the plan of a script; a test of the generator holds these files to what it makes."""
    plan: dict[str, Any] = json.loads((ROOT / f"tests/fixtures/script_{dialect}.json").read_text())
    return plan


PLAN = made_plan("sqlite")


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
    plan = made_plan(dialect)
    plan["embedding"]["provider"] = provider
    return load(plan, f"generated_{dialect}_{provider}")


def global_names(code: types.CodeType) -> Iterator[str]:
    """Gives the names that a piece of code and those in it look for outside themselves."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


migrate = load(PLAN)


def chunk_id(entity: str, key: Sequence[str], number: int) -> bytes:
    """Gives the id of a chunk, as the script makes it of what it encodes once a document."""
    return migrate.chunk_id(b"".join(map(migrate.encoded, (entity, *key))), number)


class Rules(unittest.TestCase):
    def test_documents(self) -> None:
        for case in CANONICAL["documents"]:
            sections = [(s["label"], s.get("value"), s.get("rows", [])) for s in case["sections"]]
            with self.subTest(case["case"]):
                self.assertEqual(migrate.document_text(sections), case["document"])

    def test_hashes(self) -> None:
        for case in CANONICAL["hashes"]:
            metadata = b"".join(map(migrate.encoded, case["metadata"]))
            self.assertEqual(migrate.content_hash(case["text"].encode(), metadata).hex(), case["sha256"])

    def test_ids(self) -> None:
        for case in CANONICAL["ids"]:
            made = uuid.UUID(bytes=chunk_id(case["entity"], case["key"], case["chunk"]))
            self.assertEqual((str(made), made.version), (case["id"], 8))

    def test_rows_without_a_key(self) -> None:
        for case in CANONICAL["rows"]:
            data = [text and bytes.fromhex(text) for text in case.get("hex", [])]
            texts = [text and text.decode("utf-8", "surrogateescape") for text in data]
            self.assertEqual(migrate.row_hash(case.get("values", texts)), case["row"], case["case"])
            key = (case["row"], str(case["occurrence"]))
            self.assertEqual(str(uuid.UUID(bytes=chunk_id(case["entity"], key, 0))), case["id"])

    def test_metadata(self) -> None:
        for case in CANONICAL["metadata"]:
            as_json = migrate.METADATA_VALUES.get(case["data_type"], migrate.text_value)
            self.assertEqual(as_json(case["text"]), case["json"], case)

    def test_pieces_are_the_text_again_and_fit(self) -> None:
        texts = ["", "a", "one two three four five\nsix seven", "é" * 50, "😀" * 20, "x" * 100, "a b " * 30 + "\n" * 30]
        for text in texts:
            for limit in (4, 5, 16, 17, 64, 1000):
                pieces = migrate.pieces(text.encode(), limit)
                self.assertEqual("".join(piece.decode() for piece in pieces), text)
                self.assertTrue(all(0 < len(piece) <= limit for piece in pieces), (text, limit))
        self.assertEqual(migrate.pieces(b"one two\nthree four", 12), [b"one two\n", b"three four"])

    def test_batches_hold_items_and_tokens(self) -> None:
        batcher = migrate.Batcher()
        texts = ["a", "b", "c", "d", "x" * 39, "y"]
        chunks = [migrate.Chunk(b"", b"", 0, text, text.encode(), b"", "", b"") for text in texts]
        batches = [batch for chunk in chunks if (batch := batcher.add(chunk))] + [batcher.take()]
        self.assertEqual(
            [[chunk.text for chunk in batch] for batch in batches], [["a", "b", "c"], ["d", "x" * 39], ["y"]]
        )


class Parts(unittest.TestCase):
    def test_no_combination_lacks_a_name(self) -> None:
        for dialect in ("sqlite", "postgres", "mysql"):
            for provider in ("relvec", "openai", "gemini", "local"):
                with self.subTest(f"{dialect}, {provider}"):
                    plan = made_plan(dialect)
                    plan["embedding"]["provider"] = provider
                    wanted = set(global_names(compile(script_of(plan), "migrate.py", "exec")))
                    known = vars(variant(dialect, provider)).keys() | vars(builtins).keys()
                    self.assertIn("Embedder", wanted)
                    self.assertEqual(wanted - known, set())


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name, "a % b?#.db")
        database = sqlite3.connect(self.path)
        database.executescript(
            """CREATE TABLE "or'ders""; --" (id TEXT PRIMARY KEY COLLATE NOCASE, "100% {note}" TEXT, total DECIMAL, person);
            CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE lines (order_id TEXT, code TEXT, text TEXT);
            CREATE TABLE places (land TEXT, number DECIMAL, open BOOLEAN, name TEXT, PRIMARY KEY (land, number));
            CREATE TABLE notes (day DATE, text TEXT);
            INSERT INTO places VALUES ('at', 1, 1, 'too small'), ('at', 1.5, 1, 'Graz'), ('at', 2, 0, 'closed'), ('at', 3, 1, NULL),
                ('at', 4, 1, 'Wien'), ('x'' OR ''1'' = ''1', 9, 1, 'Inn'), ('de', 5, 1, 'Ulm');
            INSERT INTO notes VALUES ('2024-01-02', 'b'), (NULL, 'a'), ('2024-01-02', 'b'), ('2024-01-02', 'B'), (NULL, NULL);
            INSERT INTO people VALUES (1, 'Ada');
            INSERT INTO "or'ders""; --" VALUES ('b', ' tea ', 1.5, 1), ('B2', NULL, NULL, 7), ('a', 'mug', 2, NULL),
                ('nul', 'x' || char(0) || 'y', 0, 1), ('bad', CAST(x'ff' AS TEXT), 0, 1);
            INSERT INTO lines VALUES ('b', 'z', 'last'), ('b', 'B', 'first'), ('b', 'a', ' '), ('gone', 'x', 'no root'),
                ('nul', 'x', 'of nul');"""
        )
        database.commit()
        database.close()
        self.source = migrate.Source(f"sqlite:{self.path}")

    def tearDown(self) -> None:
        self.source.connection.close()
        self.folder.cleanup()

    def reader(self, entity: int = 0, *bounds: Any) -> Any:
        return migrate.EntityReader(self.source, PLAN["entities"][entity], *bounds)

    def documents(self, entity: int = 0, *bounds: Any) -> dict[str, Any]:
        """Gives the chunks of each document by the values of its key, and the reason of each that is refused."""
        found: dict[str, Any] = {}
        for page in self.reader(entity, *bounds).pages():
            for chunk in page.chunks:
                found.setdefault(" ".join(json.loads(chunk.source_key).values()), []).append(chunk)
            for _, key, reason in page.refused:
                found[" ".join(json.loads(key).values())] = reason
            self.assertEqual(page.documents, page.empty + len(page.refused) + sum(c.number == 0 for c in page.chunks))
            self.assertEqual(len(page.without_chunks), page.empty + len(page.refused))
        return found

    def texts(self, entity: int = 0, *bounds: Any) -> dict[str, str]:
        chunks = self.documents(entity, *bounds).items()
        return {key: found if isinstance(found, str) else "".join(c.text for c in found) for key, found in chunks}

    def test_pages_of_any_size_give_the_same_documents(self) -> None:
        whole = [self.documents(entity) for entity in range(3)]
        for rows, size in ((1, 1 << 20), (2, 1 << 20), (3, 1 << 20), (4096, 1), (4096, 9)):
            with mock.patch.multiple(migrate, PAGE=rows, PAGE_BYTES=size):
                self.assertEqual([self.documents(entity) for entity in range(3)], whole, (rows, size))

    def test_each_page_asks_once_for_each_children_section(self) -> None:
        asked: list[bool] = []
        self.source.connection.set_trace_callback(lambda sql: asked.append("json_group_array" in sql))
        with mock.patch.object(migrate, "PAGE", 2):
            self.documents()
        self.assertEqual(sum(asked), 3)

    def test_a_filter_is_bound_and_holds_on_every_page(self) -> None:
        for rows in (1, 4096):
            with mock.patch.multiple(migrate, PAGE=rows):
                found = self.texts(1)
                self.assertEqual(found, {"at 1.5": "name: Graz", "at 4": "name: Wien", "x' OR '1' = '1 9": "name: Inn"})
        self.assertEqual(self.reader(1).check(), 3)

    def test_shards_split_by_key_and_miss_nothing(self) -> None:
        for entity in range(3):
            whole = self.documents(entity)
            for shards in (2, 3, 7):
                reader = self.reader(entity)
                ends = [(), *reader.splits(shards), ()]
                parts = [
                    self.documents(entity, low, high)
                    for low, high in zip(ends, ends[1:], strict=False)
                    if reader.width or (low, high) == (ends[0], ends[1])
                ]
                parts = parts if reader.width else parts[:1]
                self.assertEqual({key: found for part in parts for key, found in part.items()}, whole)
                self.assertEqual(sum(map(len, parts)), len(whole), (entity, shards))

    def test_equal_rows_without_a_key_are_numbered(self) -> None:
        def key(*values: str | None) -> str:
            return migrate.row_hash(values)

        b, a, upper = key("2024-01-02", "b"), key(None, "a"), key("2024-01-02", "B")
        expected = {f"{b} 1": "text: b", f"{b} 2": "text: b", f"{a} 1": "text: a", f"{upper} 1": "text: B"}
        self.assertEqual(self.texts(2), expected)
        self.assertEqual(self.reader(2).check(), 5)
        self.assertEqual(self.documents(2)[f"{a} 1"][0].metadata, b'{"day": null}')

    def test_null_in_a_key_is_a_failure(self) -> None:
        self.change("""INSERT INTO "or'ders""; --" (id) VALUES (NULL)""")
        with self.assertRaisesRegex(migrate.Failure, "1 rows have NULL"):
            self.reader().check()

    def test_a_join_that_multiplies_rows_is_a_failure(self) -> None:
        self.change("CREATE TABLE more (id INTEGER, name TEXT); INSERT INTO more VALUES (1, 'Ada'), (1, 'Eve')")
        self.change("DROP TABLE people; ALTER TABLE more RENAME TO people")
        with self.assertRaisesRegex(migrate.Failure, "make 8 rows of 5") as caught:
            self.reader().check()
        self.assertEqual(caught.exception.code, "fan_out")

    def change(self, sql: str) -> None:
        """Changes the source, which is opened again."""
        self.source.connection.close()
        other = sqlite3.connect(self.path)
        other.executescript(sql)
        other.close()
        self.source = migrate.Source(f"sqlite:{self.path}")

    def test_one_document_a_root_row(self) -> None:
        self.assertEqual(self.reader().check(), 5)
        self.assertEqual(
            self.texts(),
            {
                "a": "note: mug",
                "b": "note: tea\nlines:\n- first\n- last\nperson: Ada",
                "bad": "a value is not valid UTF-8",
                "nul": "a value contains the character U+0000, which PostgreSQL cannot store",
            },
        )
        chunks = self.documents()["b"]
        self.assertEqual(chunks[0].metadata, b'{"it\'s": 1.5}')
        self.assertTrue(all(chunk.document == chunks[0].id for chunk in chunks))
        self.assertEqual(chunks[0].id, chunk_id("orders", ["b"], 0))

    def test_the_source_is_only_read(self) -> None:
        with self.assertRaises(sqlite3.OperationalError):
            self.source.connection.execute("DELETE FROM people")

    def test_a_plan_that_no_longer_fits_is_a_failure(self) -> None:
        self.change("ALTER TABLE people RENAME COLUMN name TO title")
        with self.assertRaisesRegex(migrate.Failure, "entity `orders`") as caught:
            self.reader().check()
        self.assertEqual(caught.exception.code, "schema_drift")


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
                     [good, {"index": [1], "embedding": None}], [good, {"index": 1, "embedding": "AAAA"}]):  # fmt: skip
            with self.subTest(data), self.assertRaisesRegex(migrate.Failure, "cannot be used"):
                self.embedder({"data": data}).embed(["a", "b"])

    def test_gemini(self) -> None:
        gemini = variant("sqlite", "gemini")
        post = mock.Mock(return_value={"embeddings": [{"values": [1, -1]}]})
        with mock.patch.dict("os.environ", {"EMBEDDING_API_KEY": "hunter22"}):
            embedder = gemini.Embedder(threading.Event(), gemini.Usage())
        embedder._post = post
        self.assertEqual(embedder.headers["x-goog-api-key"], "hunter22")
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
        embedder.dimensions = 2
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
