"""The most memory of a process and of those that it starts."""

from __future__ import annotations

import re
import threading
from pathlib import Path

SECONDS = 0.1


class Peak:
    """Looks at a process until it ends.

    Of one process the kernel keeps the most itself (`VmHWM`). Of several the sum is looked at again and again, each
    page that they share counted once (`Pss`).
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.most = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def megabytes(self) -> float:
        """Ends the looking and gives the most, in units of 1,000,000 bytes."""
        self.over.set()
        self.thread.join()
        return self.most * 1024 / 1e6

    def _look(self) -> None:
        while not self.over.is_set():
            pids = tree(self.pid)
            if len(pids) > 1:
                self.most = max(self.most, sum(kibibytes(pid, "smaps_rollup", "Pss") for pid in pids))
            self.most = max(self.most, kibibytes(self.pid, "status", "VmHWM"))
            self.over.wait(SECONDS)


def tree(pid: int) -> list[int]:
    """Gives a process and all that came from it."""
    found, left = [], [pid]
    while left:
        parent = left.pop()
        found.append(parent)
        try:
            for tasks in Path(f"/proc/{parent}/task").iterdir():
                left.extend(map(int, (tasks / "children").read_text().split()))
        except OSError:
            continue  # it has ended meanwhile
    return found


def kibibytes(pid: int, file: str, name: str) -> int:
    """Reads one figure of a process; 0 if it has ended."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
