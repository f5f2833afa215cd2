"""Puts the parts of templates/migrate together as the generator does, by the same list."""

from __future__ import annotations

import json
import pathlib
from typing import Any

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "templates" / "migrate"


def script_of(plan: dict[str, Any]) -> str:
    """Gives migrate.py for a plan, with the parts that its dialect and its provider need."""
    text = ""
    for part in json.loads((FOLDER / "parts.json").read_text()):
        if plan["dialect"] not in part.get("dialects", [plan["dialect"]]):
            continue
        if plan["embedding"]["provider"] not in part.get("providers", [plan["embedding"]["provider"]]):
            continue
        text += (FOLDER / part["file"]).read_text() if "file" in part else "\n".join([*part["lines"], ""])
    return text.replace("{{ plan }}", json.dumps(plan, indent=2).replace("'", "\\u0027"))
