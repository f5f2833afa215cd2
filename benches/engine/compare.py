"""Measures relvec's engine beside LangGraph and Hamilton, in one run, and prints microseconds a stage with their ratios.

    python3 benches/engine/compare.py

Runs `cargo bench --bench engine`, whose first table has the engines written in Rust too, makes a virtual environment with the two
libraries under target/, and runs the same shapes of no-op stages in it. A graph is compiled outside of the time; a run is inside.
LangGraph has the default graph's conditions. Hamilton has none, so it runs all nine stages.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "engine-venv"
REQUIREMENTS = ["langgraph==1.2.22", "sf-hamilton==1.90.0"]
# At the least so many runs of a shape, and for so many seconds.
RUNS, SECONDS = 5, 1.0
# The bar for LangGraph's time a stage, in times of ours.
BAR = 50

Shape = tuple[str, list[str], list[tuple[str, str]]]


def shapes() -> list[Shape]:
    """Gives name, stages (upstream first) and edges of what `benches/engine/shapes.rs` has, the default graph aside."""
    chains = [layers(f"chain {count}", count, 1) for count in (10, 100, 1000)]
    return [*chains, fan(100), fan(1000), layers("dense 100x10", 100, 10)]


def layers(name: str, count: int, width: int) -> Shape:
    rows = [[f"l{layer}x{n}" for n in range(width)] for layer in range(count)]
    edges = [(a, b) for row, following in zip(rows, rows[1:]) for a in row for b in following]
    return name, [stage for row in rows for stage in row], edges


def fan(count: int) -> Shape:
    middle = [f"s{n}" for n in range(count)]
    edges = [edge for stage in middle for edge in (("first", stage), (stage, "last"))]
    return f"fan {count}", ["first", *middle, "last"], edges


def before(shape: Shape) -> dict[str, list[str]]:
    _, stages, edges = shape
    found: dict[str, list[str]] = {stage: [] for stage in stages}
    for source, target in edges:
        found[target].append(source)
    return found


def microseconds(run: Callable[[], object], stages: int) -> float:
    """Gives the median time of a run by its stages."""
    run()
    times: list[float] = []
    while len(times) < RUNS or sum(times) < SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6 / stages


def langgraph(shape: Shape) -> Callable[[], object]:
    from langgraph.graph import END, START, StateGraph

    name, stages, edges = shape
    graph = StateGraph(dict)
    for stage in stages:
        graph.add_node(stage, lambda state: None)
    sources = {source for source, _ in edges}
    for stage, waits in before(shape).items():
        graph.add_edge(waits if len(waits) > 1 else [*waits, START][0], stage)
        if stage not in sources:
            graph.add_edge(stage, END)
    app = graph.compile()
    return lambda: app.invoke({}, {"recursion_limit": len(stages) + 10})


def langgraph_default() -> Callable[[], object]:
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(dict)
    spine = ["collect_metadata", "normalize_schema", "analyzer", "llm_advisor", "code_generator", "infra_generator"]
    for stage in [*spine, "executor", "run_validation", "gate_review"]:
        graph.add_node(stage, lambda state: None)
    for source, target in [(START, "collect_metadata"), *zip(spine[:2], spine[1:3]), *zip(spine[3:5], spine[4:6])]:
        graph.add_edge(source, target)
    graph.add_edge("infra_generator", "executor")
    graph.add_edge("gate_review", END)
    graph.add_conditional_edges(
        "analyzer", lambda state: "llm_advisor" if state["llm"] else "code_generator", ["llm_advisor", "code_generator"]
    )
    graph.add_conditional_edges(
        "executor", lambda state: "gate_review" if state["review"] else "run_validation", ["gate_review", "run_validation"]
    )
    graph.add_conditional_edges(
        "run_validation", lambda state: END if state["verdict"] == "validated" else "gate_review", ["gate_review", END]
    )
    app = graph.compile()
    return lambda: app.invoke({"llm": False, "review": False, "verdict": "validated"})


def hamilton(shape: Shape) -> Callable[[], object]:
    from hamilton import ad_hoc_utils, driver

    _, stages, edges = shape
    # It walks the graph by recursion, several Python calls a stage.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20 * len(stages)))
    functions: dict[str, Callable[..., int]] = {}
    for stage, waits in before(shape).items():
        parameters = ", ".join(f"{source}: int" for source in waits)
        exec(f"def {stage}({parameters}) -> int: return 1", functions)  # noqa: S102 - a function a stage is its interface
    module = ad_hoc_utils.create_temporary_module(*(functions[stage] for stage in stages))
    built = driver.Builder().with_modules(module).build()
    sources = {source for source, _ in edges}
    last = [stage for stage in stages if stage not in sources]
    return lambda: built.execute(last)


def measure() -> None:
    """Runs inside the virtual environment; prints the figures as JSON."""
    figures: dict[str, dict[str, float]] = {}
    for shape in shapes():
        stages = len(shape[1])
        figures[shape[0]] = {
            "LangGraph": microseconds(langgraph(shape), stages),
            "Hamilton": microseconds(hamilton(shape), stages),
        }
    plain = layers("default 9", 9, 1)
    figures["default 9"] = {
        "LangGraph": microseconds(langgraph_default(), 9),
        "Hamilton": microseconds(hamilton(plain), 9),
    }
    print(json.dumps(figures))


def python() -> pathlib.Path:
    """Gives the Python of an environment that has the pinned libraries."""
    mark = VENV / "requirements"
    found = VENV / "bin" / "python"
    if not mark.exists() or mark.read_text() != "\n".join(REQUIREMENTS):
        venv.create(VENV, with_pip=True, clear=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        mark.write_text("\n".join(REQUIREMENTS))
    return found


def main() -> int:
    interpreter = python()
    bench = ["cargo", "bench", "--quiet", "--bench", "engine", "--", "one thread"]
    said = subprocess.run(bench, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    path = next(line.removeprefix("figures: ") for line in said.splitlines() if line.startswith("figures: "))
    ours = json.loads(pathlib.Path(path).read_text())["one thread"]
    said = subprocess.run([interpreter, __file__, "--measure"], check=True, capture_output=True, text=True).stdout
    theirs = json.loads(said.splitlines()[-1])
    print(f"{'µs a stage (times ours)':28}{'relvec':>10}{'LangGraph':>22}{'Hamilton':>22}")
    lowest = float("inf")
    for shape, figures in theirs.items():
        own = ours[shape]["relvec"]
        cells = "".join(f"{f'{figures[name]:.1f} ({figures[name] / own:.0f})':>22}" for name in ("LangGraph", "Hamilton"))
        print(f"{shape:28}{own:>10.2f}{cells}")
        lowest = min(lowest, figures["LangGraph"] / own)
    print(f"LangGraph takes at least {lowest:.0f} times as long a stage; the bar is {BAR}")
    return 0 if lowest >= BAR else 1


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    else:
        sys.exit(main())
