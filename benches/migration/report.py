"""The figures as JSON and as a table, each ratio against its bar."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Found:
    """The medians of a measurement; see `main.summary` for what each figure is."""

    rows: int
    free: dict[str, Any]
    slow: dict[str, Any] | None
    million: dict[str, float] | None


@dataclass(frozen=True)
class Bar:
    """A figure and what it has to reach; no figure where it was not measured."""

    name: str
    figure: float | None
    sign: str
    bound: float

    @property
    def met(self) -> bool | None:
        """Says whether the bar is reached."""
        if self.figure is None:
            return None
        return self.figure >= self.bound if self.sign == ">=" else self.figure <= self.bound


def least_ratio(found: dict[str, Any]) -> float | None:
    """Gives how many times as fast as the fastest of the others the script is, each beside its own loads."""
    return min((peer["ratio"] for peer in found["others"].values()), default=None)


def bars(found: Found) -> list[Bar]:
    """Holds the figures against their bars."""
    free, slow, million = found.free, found.slow, found.million
    peak = max(free["peak_mb"], million["peak_mb"]) if million else free["peak_mb"]
    return [
        Bar("slow API: load by ceiling", slow["load_by_ceiling"] if slow else None, ">=", 0.95),
        Bar("free API: load by the fastest peer", least_ratio(free), ">=", 8.0),
        Bar("free API: load by raw COPY", free["load_by_copy"], ">=", 0.15),
        Bar(
            "memory at 1,000,000 rows by that at fewer",
            million["peak_mb"] / free["peak_mb"] if million else None,
            "<=",
            1.2,
        ),
        Bar("peak memory, MB", peak, "<=", 200.0),
        Bar("a run that changes nothing, rows/s", free["again"], ">=", 40_000.0),
        Bar("a run that changes nothing, requests", float(free["again_requests"]), "<=", 0.0),
        Bar("searchable by load and best index build", free.get("searchable_by_best"), "<=", 1.1),
    ]


def rounded(value: object) -> object:
    """Gives figures with as many digits as mean something."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value) if value >= 1000 else round(value, 3)
    return value


def document(
    found: Found, held: list[Bar], settings: dict[str, str], length: float, words: list[str]
) -> dict[str, Any]:
    """Gives everything as one JSON document."""
    skip = {
        index + offset
        for index, word in enumerate(words)
        if word in ("--relvec", "--server", "--json")
        for offset in (0, 1)
    }
    return {
        "command": " ".join(
            ["benches/migration/run", *(word for index, word in enumerate(words) if index not in skip)]
        ),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_average": os.getloadavg()[0]},
        "postgres": settings,
        "rows": found.rows,
        "characters_a_document": round(length),
        "free": rounded(found.free),
        "slow": rounded(found.slow),
        "million": rounded(found.million),
        "bars": [rounded(vars(bar) | {"met": bar.met}) for bar in held],
    }


def table(found: Found, held: list[Bar]) -> str:
    """Gives the figures and the bars for people."""
    lines = ["", f"{found.rows:,} documents, rows/s".ljust(44) + "free API".rjust(12) + "slow API".rjust(12)]
    names = {
        "ceiling": "the API's ceiling",
        "ceiling_parsed": "the API's ceiling, answers parsed",
        "copy": "raw COPY of the same rows",
        "load": "the generated script, load",
        "again": "the same again, nothing changed",
    }
    for key, name in names.items():
        lines.append(name.ljust(44) + cell(found.free.get(key)) + cell((found.slow or {}).get(key)))
    for name in found.free["others"]:
        both = [
            (side or {}).get("others", {}).get(name, {}).get("rows_per_second") for side in (found.free, found.slow)
        ]
        lines.append(name.ljust(44) + cell(both[0]) + cell(both[1]))
    lines += ["", "bar".ljust(44) + "figure".rjust(12) + "wanted".rjust(12)]
    for bar in held:
        says = {True: "met", False: "missed", None: "not measured"}[bar.met]
        lines.append(bar.name.ljust(44) + cell(bar.figure) + f"{bar.sign} {bar.bound:g}".rjust(12) + f"  {says}")
    return "\n".join(lines)


def cell(figure: float | None) -> str:
    """Gives a figure as it stands in a column."""
    if figure is None:
        return "-".rjust(12)
    return (f"{figure:,.0f}" if figure >= 100 else f"{figure:.3f}").rjust(12)
