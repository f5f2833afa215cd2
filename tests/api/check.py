"""Holds a gateway against /openapi.json: check.py SCHEMATHESIS ADDRESS FOLDER

Two passes. In the first, ids are what schemathesis makes up, and what it finds in answers. In the second they are those of real runs: one that is
over, with files and a log, and one that waits for an answer. In the first no run waits: a stream of its events would not end.

Where RELVEC_TOKEN has a token, the gateway asks for one: each request shows it, each route is also asked with none and with a wrong one, and both
passes are shorter, as what is in bodies was tried without tokens.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

# A body that fits its schema can be wrong in ways that a schema cannot say: docs/decisions/0024-one-description.md.
SETTINGS = """
{headers}

[[operations]]
include-path = ["/jobs", "/jobs/{{run_id}}/retry", "/graphs/{{name}}/plan", "/jobs/{{run_id}}/answers"]
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

# No schema knows how long a file is that a range is asked of.
[[operations]]
include-path = "/artifacts/{{run_id}}/{{name}}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "404", "416"]
{more}
"""

REAL_IDS = """
[parameters]
"path.run_id" = "{over}"

[[operations]]
include-path = "/jobs/{{run_id}}/answers"
parameters = {{ "path.run_id" = "{waiting}" }}
"""


TOKEN = os.environ.get("RELVEC_TOKEN")


def ask(address: str, path: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    if TOKEN:
        request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def run_of(address: str, graph: str, status: str, source: str) -> str:
    """Submits a job and gives its run, when it has a status."""
    job = {"graph": graph, "input": {"source": {"url": f"sqlite:{source}"}}}
    run = ask(address, "/jobs", job)["run_id"]
    for _ in range(600):
        document = ask(address, f"/jobs/{run}")
        if document["status"] == status:
            return run
        time.sleep(0.1)
    raise SystemExit(f"run {run} of graph {graph} is {document['status']}: {document['error']}")


def description(address: str, folder: Path) -> str:
    """Writes what a gateway describes, but for what it says of gateways that ask for no token, and gives the file."""
    document = ask(address, "/openapi.json")
    for methods in document["paths"].values():
        for operation in methods.values():
            asked = [one for one in operation["security"] if one]
            # Who shows none at /readyz is told less, and let in.
            if TOKEN and "401" in operation["responses"]:
                operation["security"] = asked
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    return str(path)


def check(tool: str, address: str, folder: Path, name: str, more: str, phases: str) -> bool:
    settings = folder / f"{name}.toml"
    headers = 'headers = { Authorization = "Bearer ${RELVEC_TOKEN}" }' if TOKEN else ""
    settings.write_text(SETTINGS.format(more=more, headers=headers))
    described = ["run", description(address, folder), "--url", address]
    command = [tool, "--config-file", str(settings), *described, "--checks", "all"]
    # One worker: two that parse Python at once make CPython 3.11 lose count of its recursion (its issue 106905).
    examples = "8" if TOKEN else "25"
    command += ["--max-examples", examples, "--seed", "1", "--workers", "1", "--request-timeout", "20", "--phases", phases]
    print(f"{name}{', with a token' if TOKEN else ''}:", flush=True)
    with (folder / f"{name}.txt").open("w") as out:
        ended = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=300, check=False)
    text = (folder / f"{name}.txt").read_text()
    print(text if ended.returncode else text[text.rfind("SUMMARY") :], flush=True)
    return ended.returncode == 0


def main() -> None:
    tool, address, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    shop = folder / "shop.db"
    subprocess.run(
        [sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])", shop, SHOP],
        check=True,
    )
    over = run_of(address, "plan-only", "succeeded", str(shop.resolve()))
    passed = check(tool, address, folder, "made-up", "", "examples,coverage,fuzzing,stateful")
    graph = folder / "graphs" / "waiting.toml"
    graph.write_text('name = "waiting"\ninput = "job"\n[stages.gate_review]\n')
    waiting = run_of(address, "waiting", "waiting", str(shop.resolve()))
    graph.unlink()
    real = REAL_IDS.format(over=over, waiting=waiting)
    passed &= check(tool, address, folder, "real", real, "examples,coverage,fuzzing")
    sys.exit(0 if passed else 1)


SHOP = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
WITH RECURSIVE day (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM day WHERE n < 40)
INSERT INTO notes SELECT n, 'A long note about the garden and the weather of day ' || n || ', to be found again.' FROM day;
"""

if __name__ == "__main__":
    main()
