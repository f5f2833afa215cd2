"""Times `relvec validate` as a whole process on chains of 1,000 stages: python3 benches/engine/validate.py [PROGRAM]

PROGRAM is target/release/relvec if absent. Prints the median and the least of 20 runs, in milliseconds.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

STAGES = 1_000
RUNS = 20


def graph(stages: int, conditions: int, macro: bool = False, own: bool = False) -> str:
    """Gives a chain of gates, with conditions on so many of its edges, or with a macro on so many of its stages.

    They differ in the stage that they name; with `own` each compares with another text too, so that no two are alike.
    """
    lines = ['name = "chain"', 'input = "job"', "edges = ["]
    for number in range(stages - 1):
        # Spread evenly: the nth edge has one where n times the share steps over a whole number.
        here = not macro and (number + 1) * conditions // (stages - 1) > number * conditions // (stages - 1)
        other = f"job.source.url == 'u{number}'" if own else "job.require_review"
        when = f', when = "stages.s{number}.output.approved || {other}"' if here else ""
        lines.append(f'{{ from = "s{number}", to = "s{number + 1}"{when} }},')
    lines.append("]")
    for number in range(stages):
        lines += [f"[stages.s{number}]", 'handler = "gate_review"']
        if macro and 0 < number <= conditions:
            reads = f"stages.s{number - 1}.status == 'succeeded'"
            asks = f"q.id == 'q{number}'" if own else "q.blocking"
            lines.append(f'when = "{reads} && (job.require_review || open_questions.exists(q, {asks}))"')
    return "\n".join(lines) + "\n"


def main() -> None:
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/relvec"
    cases = {
        "2 stages": graph(2, 0),
        "no condition": graph(STAGES, 0),
        "500 edges with a condition": graph(STAGES, 500),
        "999 edges with a condition": graph(STAGES, STAGES - 1),
        "999 stages with a macro": graph(STAGES, STAGES - 1, macro=True),
        "999 edges, none alike": graph(STAGES, STAGES - 1, own=True),
        "999 macros, none alike": graph(STAGES, STAGES - 1, macro=True, own=True),
        "100,000 headers, refused": 'name = "headers"\n' + "[[edges]]\n" * 100_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "chain.toml"
        for name, text in cases.items():
            path.write_text(text)
            times = []
            for _ in range(RUNS):
                start = time.perf_counter()
                ended = subprocess.run([program, "validate", str(path)], stdout=subprocess.DEVNULL)
                times.append((time.perf_counter() - start) * 1e3)
                if ended.returncode != int("refused" in name):
                    sys.exit(f"{name}: it ended with {ended.returncode}")
            print(f"{name:28} {statistics.median(times):6.1f} {min(times):6.1f}")


if __name__ == "__main__":
    main()
