"""Measures the gateway beside FastAPI with uvicorn, in one go and on one machine, and prints a table.

1. Submissions a second at 64 clients, each durable in SQLite before its 202; the gateway executes the runs meanwhile.
2. `GET /jobs/{id}` a second at 64 clients, over many runs.
3. Memory with many followers of runs (server-sent events), and whether each of them sees its run's end.
4. Many queued runs, kill -9, restart: whether all of them end.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = 64
JOB = {"graph": "nothing", "input": {"source": {"url": "sqlite:/no/such/shop.db"}}}


class Served:
    """A server as a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str):
        self.process = process
        self.address = address

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    def memory(self) -> float:
        """Gives resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def processor(self) -> float:
        """Gives the processor seconds of the server so far, its workers' included."""
        ticks, waiting = 0, [self.process.pid]
        while waiting:
            process = Path(f"/proc/{waiting.pop()}")
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
            for task in (process / "task").iterdir():
                waiting += (task / "children").read_text().split()
        return ticks / os.sysconf("SC_CLK_TCK")

    def ask(self, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()


def gateway(binary: str, home: Path) -> Served:
    environment = dict(os.environ, RELVEC_HOME=str(home), RELVEC_GRAPHS=str(HERE / "graphs"), **LIMITS)
    command = [binary, "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    return Served(process, re.search(r"http://[0-9.:]+", line).group(0))


# The queue takes what is measured; everything else is as it comes.
LIMITS = {"RELVEC_QUEUE_LENGTH": "1000000"}


def beside(home: Path, port: int) -> Served:
    environment = dict(os.environ, BENCH_STORE=str(home / "beside.db"))
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "beside:app", "--port", str(port)]
    command += ["--workers", "2", "--log-level", "warning"]
    served = Served(subprocess.Popen(command, env=environment), f"http://127.0.0.1:{port}")
    for _ in range(300):
        try:
            served.ask("/openapi.json")
            return served
        except OSError:
            time.sleep(0.1)
    raise SystemExit("uvicorn does not start")


def wrk(served: Served, script: str, seconds: int, ids: Path | None = None) -> dict[str, float]:
    """Gives requests a second, milliseconds at the 99th percentile, and answers that were no success."""
    path = "/jobs" if script == "post.lua" else "/"
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--latency", "-s", str(HERE / script), served.address + path]
    environment = dict(os.environ, BENCH_IDS=str(ids or ""))
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text).groups()
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.*)", text)
    if broken:
        print(f"  socket errors: {broken.group(1)}")
    return {"rate": rate, "p99": float(number) * factor, "failed": int(failed.group(1)) if failed else 0}


def post(served: Served, seconds: int) -> dict[str, float]:
    """Measures submissions, with the microseconds of processor time that each cost the server."""
    wrk(served, "post.lua", 2)
    began, spent = time.monotonic(), served.processor()
    measured = wrk(served, "post.lua", seconds)
    took, spent = time.monotonic() - began, served.processor() - spent
    return measured | {"cost": spent * 1_000_000 / (measured["rate"] * took)}


def ids_of(store: Path, where: str = "1", most: int = 10_000) -> list[str]:
    with sqlite3.connect(store) as connection:
        return [row[0] for row in connection.execute(f"SELECT id FROM runs WHERE {where} LIMIT {most}")]


def count(store: Path) -> dict[str, int]:
    with sqlite3.connect(store) as connection:
        return dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status"))


def until_over(store: Path, patience: float = 1200) -> dict[str, int]:
    """Waits until no run is queued or running."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        counted = count(store)
        if not {"queued", "running"} & counted.keys():
            return counted
        time.sleep(0.5)
    raise SystemExit(f"runs do not end: {counted}")


def measure_rates(binary: str, folder: Path, seconds: int) -> list[tuple[str, str, str, str]]:
    ours, theirs = folder / "ours", folder / "theirs"
    ours.mkdir(), theirs.mkdir()
    rows = []
    served = gateway(binary, ours)
    posted = post(served, seconds)
    store = ours / "runs.db"
    open_runs = count(store)
    began = time.monotonic()
    over = until_over(store)
    drained = time.monotonic() - began
    print(f"  after the submissions: {open_runs}; all over {drained:.1f} s later: {over}")
    names = folder / "ids.txt"
    names.write_text("\n".join(ids_of(store)) + "\n")
    wrk(served, "get.lua", 2, names)
    got = wrk(served, "get.lua", seconds, names)
    served.stop()
    other = beside(theirs, 7099)
    posted_there = post(other, seconds)
    names.write_text("\n".join(ids_of(theirs / "beside.db")) + "\n")
    wrk(other, "get.lua", 2, names)
    got_there = wrk(other, "get.lua", seconds, names)
    other.stop()
    for what, here, there, bar in [
        ("submit to 202", posted, posted_there, "2000/s, p99 25 ms"),
        ("GET /jobs/{id}", got, got_there, "20000/s"),
    ]:
        rows.append((what, figures(here), figures(there), f"{here['rate'] / there['rate']:.1f} times (bar: 10; {bar})"))
    return rows


def figures(measured: dict[str, float]) -> str:
    failed = f", {measured['failed']} refused" if measured["failed"] else ""
    cost = f", {measured['cost']:.0f} µs of processor each" if "cost" in measured else ""
    return f"{measured['rate']:.0f}/s, p99 {measured['p99']:.1f} ms{cost}{failed}"


async def follow(address: str, run: str, ready: asyncio.Event, counted: list[int]) -> bool:
    """Follows a run to the end of its stream. Says whether the end of the run was in it."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /jobs/{run}/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b'"status":"waiting"')
    counted[0] += 1
    if counted[0] == counted[1]:
        ready.set()
    rest = await reader.read(-1)
    writer.close()
    return b'"status":"succeeded"' in rest


async def followed(served: Served, runs: list[str], followers: int) -> tuple[float, int]:
    """Gives the memory with all followers there, and how many saw the end of their run."""
    ready, counted = asyncio.Event(), [0, followers]
    tasks = [
        asyncio.create_task(follow(served.address, runs[number % len(runs)], ready, counted)) for number in range(followers)
    ]
    await asyncio.wait_for(ready.wait(), 120)
    await asyncio.sleep(2)
    memory = served.memory()
    answer = {"question": "accept", "choice": "approve", "by": "bench"}
    for run in runs:
        question = (await asyncio.to_thread(served.ask, f"/jobs/{run}"))["open_questions"][0]["id"]
        await asyncio.to_thread(served.ask, f"/jobs/{run}/answers", answer | {"question": question})
    return memory, sum(await asyncio.wait_for(asyncio.gather(*tasks), 120))


def measure_followers(binary: str, folder: Path, followers: int) -> tuple[str, str, str, str]:
    home = folder / "followed"
    home.mkdir()
    served = gateway(binary, home)
    runs = [served.ask("/jobs", JOB | {"graph": "waiting"})["run_id"] for _ in range(100)]
    until_over(home / "runs.db")
    before = served.memory()
    memory, ended = asyncio.run(followed(served, runs, followers))
    served.stop()
    said = f"{memory:.0f} MB ({before:.0f} before), {ended} of {followers} saw the end"
    return (f"{followers} followers", said, "", "bar: 200 MB")


def measure_kill(binary: str, folder: Path, runs: int) -> tuple[str, str, str, str]:
    home = folder / "killed"
    home.mkdir()
    served = gateway(binary, home)
    store = home / "runs.db"
    made = 0
    while made < runs:
        wrk(served, "post.lua", 1)
        made = sum(count(store).values())
    served.stop(signal.SIGKILL)
    killed = count(store)
    began = time.monotonic()
    served = gateway(binary, home)
    over = until_over(store)
    took = time.monotonic() - began
    served.stop()
    lost = sum(killed.values()) - over.get("succeeded", 0)
    said = f"{sum(killed.values())} made, {killed.get('queued', 0)} queued at kill -9; {lost} lost, all over after {took:.1f} s"
    return ("kill -9", said, "", "bar: none lost")


def main() -> None:
    binary = str(Path(sys.argv[1]).resolve())
    numbers = [int(number) for number in sys.argv[2:]]
    seconds, runs, followers = numbers + [10, 10_000, 1_000][len(numbers) :]
    with tempfile.TemporaryDirectory(prefix="relvec-bench-") as name:
        folder = Path(name)
        rows = measure_rates(binary, folder, seconds)
        rows.append(measure_followers(binary, folder, followers))
        rows.append(measure_kill(binary, folder, runs))
    print("\n| what | relvec | FastAPI, uvicorn | |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
