# -*- coding: utf-8 -*-
"""Serves the migrated documents: search, and the migration itself at the push of a button.

Environment: as for migrate.py. With SERVICE_TOKEN set, everything but `/health` and the documentation wants it as a
bearer token. One process only: the state of the migration is in memory.
"""

from __future__ import annotations

import asyncio
import collections
import hmac
import json
import os
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import psycopg.errors
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPT = Path(migrate.__file__).resolve()
STOP_SECONDS = 20  # that a migration has to end where the service ends


def allowed(authorization: Annotated[str, Header()] = "") -> None:
    """Refuses a request without the token, if there is one."""
    token = os.environ.get("SERVICE_TOKEN", "")
    if token and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})


closed = APIRouter(dependencies=[Depends(allowed)])


# ---- The migration --------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A migration that this process started."""

    state: str = "idle"
    exit_code: int | None = None
    done: int = 0
    total: int = 0
    messages: collections.deque[dict[str, str]] = field(default_factory=lambda: collections.deque(maxlen=50))
    report: dict[str, Any] | None = None
    process: asyncio.subprocess.Process | None = None

    def shown(self) -> Progress:
        """Gives what `GET /progress` answers."""
        messages = [Message(**message) for message in self.messages]
        return Progress(state=self.state, exit_code=self.exit_code, done=self.done, total=self.total, messages=messages)

    def note(self, line: bytes) -> None:
        """Takes one line of the script's standard error."""
        event = json_of(line)
        if event.get("event") == "progress":
            self.done, self.total = int(event["done"]), int(event["total"])
        elif event.get("event") == "log":
            self.messages.append({"level": str(event["level"]), "message": str(event["message"])})

    async def start(self) -> None:
        """Starts the script, which ends when this process does: its standard input ends then."""
        self.state = "running"
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(SCRIPT),
                "--until-stdin-ends",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError:
            self.state = "failed"
            raise HTTPException(500, "the migration cannot be started") from None

    async def follow(self) -> None:
        """Reads what the script says until it ends."""
        process = self.process
        if process is None or process.stdout is None or process.stderr is None:
            return
        last = b""

        async def output(stream: asyncio.StreamReader) -> None:
            nonlocal last
            async for line in stream:
                last = line

        async def errors(stream: asyncio.StreamReader) -> None:
            async for line in stream:
                self.note(line)

        await asyncio.gather(output(process.stdout), errors(process.stderr))
        self.exit_code = await process.wait()
        self.report = json_of(last) or None
        self.state = "finished" if self.exit_code in {0, 3} else "failed"

    async def stop(self) -> None:
        """Ends a script that still runs; what it has done stays done."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except asyncio.TimeoutError:
            self.process.kill()


class Message(BaseModel):
    """What the script said."""

    level: str
    message: str


class Progress(BaseModel):
    """How far a migration is: `idle`, `running`, `finished` or `failed`."""

    state: str
    exit_code: int | None
    done: int
    total: int
    messages: list[Message]


class State:
    """What this process keeps between requests."""

    def __init__(self) -> None:
        """Starts without a migration and without an embedder."""
        self.run = Run()
        self.following: set[asyncio.Task[None]] = set()
        self.embedder: migrate.Embedder | None = None
        self.lock = threading.Lock()


state = State()


def json_of(line: bytes) -> dict[str, Any]:
    """Reads a line that may be a JSON object."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@closed.post("/migrate", status_code=202)
async def start_migration() -> Progress:
    """Starts the migration; one at a time."""
    if state.run.state == "running":
        raise HTTPException(409, "a migration is running; see GET /progress")
    state.run = run = Run()
    await run.start()
    task = asyncio.create_task(run.follow())
    state.following.add(task)
    task.add_done_callback(state.following.discard)
    return run.shown()


@closed.get("/progress")
async def progress() -> Progress:
    """Says how far the last migration has come."""
    return state.run.shown()


@closed.get("/report")
async def report() -> dict[str, Any]:
    """Gives the report of the last migration."""
    if state.run.report is None:
        raise HTTPException(404, "no migration has ended with a report yet; see GET /progress")
    return state.run.report


# ---- Search ---------------------------------------------------------------------------------------------------------

SEARCH_SECONDS = 20  # that the target may take
# Numbers that are kept as texts, such as floats, are numbers too. Longer ones are beyond what can be compared.
NUMBER_PATTERN = "^[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,3})?$"
OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def storable(text: str) -> str:
    """Refuses what PostgreSQL cannot take as text."""
    if "\0" in text:
        msg = "it has a NUL character"
        raise ValueError(msg)
    return text


Text = Annotated[StrictStr, Field(max_length=20_000), AfterValidator(storable)]
Number = (
    Annotated[StrictInt, Field(ge=-(10**30), le=10**30)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)
Value = StrictBool | Number | Text | None


class Condition(BaseModel):
    """What a value of the metadata has to be; of several operators all have to hold."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    gt: Number | Text | None = Field(default=None, description="greater than")
    gte: Number | Text | None = Field(default=None, description="greater than or equal to")
    lt: Number | Text | None = Field(default=None, description="less than")
    lte: Number | Text | None = Field(default=None, description="less than or equal to")
    one_of: list[Value] | None = Field(default=None, alias="in", max_length=1000, description="one of these values")
    none_of: list[Value] | None = Field(default=None, alias="not_in", max_length=1000, description="none of these")

    @model_validator(mode="after")
    def asks_something(self) -> Condition:
        """Refuses a condition without an operator, and `null` where a value is needed."""
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            msg = "it needs at least one of gt, gte, lt, lte, in and not_in, each with a value"
            raise ValueError(msg)
        return self


def sort_of(wanted: object) -> str:
    """Tells conditions from values."""
    return "condition" if isinstance(wanted, (dict, Condition)) else "value"


Wanted = Annotated[
    Annotated[Value, Tag("value")] | Annotated[Condition, Tag("condition")],
    Discriminator(sort_of),
]


class Search(BaseModel):
    """A search."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"query": "late delivery", "top_k": 5, "filter": {"price": {"gte": 10, "lt": 20}}}]
        },
    )

    query: Text = Field(min_length=1)
    top_k: int = Field(default=10, ge=1, le=100, description="the most hits")
    min_score: float = Field(default=-1.0, ge=-1, le=1, description="only hits that are at least so near")
    entity: Text | None = Field(default=None, description="only documents of this entity")
    filter: dict[Text, Wanted] = Field(
        default_factory=dict,
        max_length=20,
        description="only documents whose metadata has these values, or fits these conditions. Numbers are compared as"
        " numbers; texts, and with them dates, as texts. True and false are 1 and 0 too, null is what is not there.",
    )


class Hit(BaseModel):
    """A chunk that was found; `score` is the cosine similarity, 1 is the best."""

    score: float
    entity: str
    source_key: dict[str, str] = Field(description="the key of its row in the source")
    chunk: int = Field(description="which piece of the document, from 0")
    content: str
    metadata: dict[str, Any]


class Found(BaseModel):
    """The nearest chunks, the best first."""

    hits: list[Hit]
    complete: bool = Field(description="false where there may be more that fit: looking at all of them took too long")
    seconds: float


class Sql:
    """Conditions of a statement with the values that they bind: no text of a request becomes part of it."""

    def __init__(self) -> None:
        """Starts without a condition, which holds for every row."""
        self.parts = ["true"]
        self.values: dict[str, Any] = {}

    def bind(self, value: object) -> str:
        """Gives a placeholder for a value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"%({name})s"

    def add(self, key: str, wanted: Value | Condition) -> None:
        """Adds what a value of the metadata has to be."""
        found = f"(metadata ->> {self.bind(key)}::text)"
        if not isinstance(wanted, Condition):
            self.parts.append(self.equals(found, wanted))
            return
        for name, sign in OPERATORS.items():
            if (limit := getattr(wanted, name)) is not None:
                self.parts.append(self.compared(found, sign, limit))
        if wanted.one_of is not None:
            self.parts.append(self.any_of(found, wanted.one_of))
        if wanted.none_of is not None:
            self.parts.append(f"({self.any_of(found, wanted.none_of)}) IS NOT TRUE")

    def any_of(self, found: str, values: list[Value]) -> str:
        """Says that a value is one of some."""
        return f"({' OR '.join(['false', *(self.equals(found, value) for value in values)])})"

    def equals(self, found: str, value: Value) -> str:
        """Says that a value is this one; null is what is not there too."""
        if value is None:
            return f"{found} IS NULL"
        return self.compared(found, "=", value)

    def compared(self, found: str, sign: str, value: bool | float | str) -> str:  # noqa: FBT001
        """Compares numbers as numbers, and texts by their code points."""
        if isinstance(value, bool):
            return f"{found} = ANY({self.bind(['true', '1'] if value else ['false', '0'])})"
        if isinstance(value, str):
            return f'{found} COLLATE "C" {sign} {self.bind(value)}'
        is_number = f"length({found}) < 400 AND {found} ~ {self.bind(NUMBER_PATTERN)}"
        return f"CASE WHEN {is_number} THEN {found}::numeric {sign} {self.bind(repr(value))}::numeric ELSE false END"


def connect() -> psycopg.Connection[Any]:
    """Opens the target."""
    url = os.environ.get("TARGET_URL")
    if not url:
        raise HTTPException(503, "TARGET_URL is not set")
    try:
        return migrate.connect(url, "target", autocommit=False)
    except migrate.Failure as failure:
        raise HTTPException(503, str(failure)) from None


def embedded(query: str) -> list[float]:
    """Gives the query's vector."""
    try:
        with state.lock:
            state.embedder = state.embedder or migrate.Embedder(threading.Event(), migrate.Usage())
        return state.embedder.query(query)
    except migrate.Failure as failure:
        raise HTTPException(503, str(failure)) from None


@closed.post("/search")
def search(request: Search) -> Found:
    """Finds the chunks that are nearest to the query."""
    started = time.monotonic()
    vector = embedded(request.query)
    with connect() as connection:
        try:
            hits, complete = nearest(connection, request, vector)
        except psycopg.errors.UndefinedTable:
            raise HTTPException(409, "nothing has been migrated yet; POST /migrate first") from None
        except psycopg.errors.DataException:
            raise HTTPException(409, "the target holds vectors of another model; migrate again") from None
        except psycopg.errors.QueryCanceled:
            raise HTTPException(504, "the target took too long; ask for less, or index the metadata") from None
        except psycopg.OperationalError as error:
            raise HTTPException(503, f"the target stopped the search: {migrate.database_message(error)}") from None
    hits = [hit for hit in hits if hit.score >= request.min_score]
    return Found(hits=hits, complete=complete, seconds=round(time.monotonic() - started, 6))


def nearest(connection: psycopg.Connection[Any], request: Search, vector: list[float]) -> tuple[list[Hit], bool]:
    """Asks the target's index; where it stops before there are enough hits, because most do not fit, looks at all."""
    found = connection.execute(
        "SELECT n.nspname, string_to_array(e.extversion, '.')::int[] >= ARRAY[0, 8]"
        " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    ).fetchone()
    if found is None:
        raise HTTPException(409, "the target has no pgvector; POST /migrate first")
    extension, iterates = migrate.quoted(found[0]), found[1]
    target = migrate.PLAN["target"]
    table = f"{migrate.quoted(target['schema'])}.{migrate.quoted(target['table'])}"
    kind = "vector" if len(vector) <= migrate.VECTOR_LIMIT else "halfvec"
    sql = Sql()
    distance = f"embedding OPERATOR({extension}.<=>) {sql.bind(json.dumps(vector))}::{extension}.{kind}({len(vector)})"
    sql.parts.append(f"model = {sql.bind(migrate.PLAN['embedding']['model'])}")
    if request.entity is not None:
        sql.parts.append(f"entity = {sql.bind(request.entity)}")
    for key, wanted in request.filter.items():
        sql.add(key, wanted)
    text = (
        f"SELECT 1 - ({distance}), entity, source_key, chunk, content, metadata FROM {table}"  # nosec B608
        f" WHERE {' AND '.join(sql.parts)} ORDER BY {distance} LIMIT {request.top_k:d}"
    )

    def asked() -> list[Hit]:
        names = ("score", "entity", "source_key", "chunk", "content", "metadata")
        return [Hit(**dict(zip(names, row, strict=True))) for row in connection.execute(text.encode(), sql.values)]

    if iterates:
        connection.execute("SET LOCAL hnsw.iterative_scan = 'strict_order'")
    connection.execute(f"SET LOCAL statement_timeout = {SEARCH_SECONDS * 1000:d}".encode())
    connection.execute(f"SET LOCAL hnsw.ef_search = {max(40, request.top_k):d}".encode())
    hits = asked()
    if len(hits) == request.top_k:
        return hits, True
    try:
        with connection.transaction():
            connection.execute("SET LOCAL enable_indexscan = off")
            return asked(), True
    except psycopg.errors.QueryCanceled:
        return hits, False


# ---- The application ------------------------------------------------------------------------------------------------

# It needs nothing from elsewhere: where there is no internet, the documentation is there all the same.
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>relvec search</title>
<meta name="viewport" content="width=device-width">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}
textarea,pre{width:100%;box-sizing:border-box;font:14px monospace;white-space:pre-wrap;overflow-wrap:anywhere}
pre{background:#f4f4f4;padding:.5rem}h2 code{font-size:1.1rem}input{width:20rem}
</style>
<h1>relvec search</h1>
<p>The description for programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
<p><label>Bearer token, if the service wants one: <input id="token" type="password" autocomplete="off"></label></p>
<main id="operations"></main>
<script>
"use strict";
const make = (parent, name, text) => {
  const element = parent.appendChild(document.createElement(name));
  if (text) element.textContent = text;
  return element;
};
const show = (api, path, method, operation) => {
  const section = make(document.getElementById("operations"), "section");
  make(make(section, "h2"), "code", method.toUpperCase() + " " + path);
  make(section, "p", operation.description || operation.summary);
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  let body = null;
  if (content) {
    const schema = api.components.schemas[content.schema.$ref.split("/").pop()];
    const details = make(section, "details");
    make(details, "summary", "Schema of the body");
    make(details, "pre", JSON.stringify(schema, null, 2));
    body = make(section, "textarea");
    body.rows = 6;
    body.value = JSON.stringify((schema.examples || [{}])[0], null, 2);
  }
  const button = make(section, "button", "Send");
  const answer = make(section, "pre");
  button.onclick = async () => {
    const headers = {};
    const token = document.getElementById("token").value;
    if (token) headers.authorization = "Bearer " + token;
    if (body) headers["content-type"] = "application/json";
    try {
      const url = path.replace(/^[/]/, "");
      const reply = await fetch(url, {method: method.toUpperCase(), headers, body: body ? body.value : undefined});
      const text = await reply.text();
      try {
        answer.textContent = reply.status + "\\n" + JSON.stringify(JSON.parse(text), null, 2);
      } catch (error) {
        answer.textContent = reply.status + "\\n" + text;
      }
    } catch (error) {
      answer.textContent = String(error);
    }
  };
};
fetch("openapi.json").then(reply => reply.json()).then(api => {
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods)) show(api, path, method, operation);
});
</script></html>
"""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Ends a migration that still runs when the service ends."""
    yield
    await state.run.stop()


app = FastAPI(
    title="relvec search",
    description="Semantic search over migrated documents.",
    docs_url=None,
    redoc_url=None,
    lifespan=lifespan,
)


@app.exception_handler(RequestValidationError)
def refused(_: Request, error: RequestValidationError) -> Response:
    """Says what is wrong with a request, without what was sent: that may be nothing that can be sent back."""
    detail = [{"type": one["type"], "loc": one["loc"], "msg": one["msg"]} for one in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


@app.get("/", include_in_schema=False)
def root() -> RedirectResponse:
    """Shows people where they are."""
    return RedirectResponse("docs")


@app.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """Describes the service for people, who can try it there."""
    return HTMLResponse(PAGE)


@app.get("/health")
def health(response: Response) -> dict[str, str]:
    """Says whether the target answers."""
    try:
        with connect() as connection:
            connection.execute("SELECT 1")
    except (HTTPException, psycopg.Error):
        response.status_code = 503
        return {"status": "unavailable", "target": "unreachable"}
    return {"status": "ok", "target": "reachable"}


app.include_router(closed)
