"""The memory of processes that run for months: given back after the start, and who is killed first where it runs out.

See proc(5) for ``oom_score_adj``, and the kernel's documentation of control groups, version 2 and 1, for the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path

_MOST, _LEAST = 1000, -1000
# Thousandths of the limit that count on top of what a process takes. Without the agent all is served; an NGINX comes
# back; the first process takes all with it. Raising one's own needs no privilege.
_ON_TOP = {"agent": 800, "nginx": 300}
_BELOW = -500
_SELF = Path("/proc/self/oom_score_adj")
_CGROUPS = Path("/sys/fs/cgroup")


def settle() -> None:
    """Return the memory that only the start needed, and exclude the permanent objects from garbage collection.

    Collections then look at few objects, and are frequent enough to keep memory flat.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # malloc_trim(3) is glibc's own
        ctypes.CDLL(None).malloc_trim(0)


def go_last() -> int:
    """Make the first process the last victim, where permitted; returns its old score, the base of the children's."""
    before = _own()
    with contextlib.suppress(OSError):
        _SELF.write_text(str(max(_LEAST, before + _BELOW)))
    return before


def take_place(name: str, base: int) -> None:
    """Set the score of a child, between fork and exec."""
    with contextlib.suppress(OSError):
        _SELF.write_text(str(max(_LEAST, min(_MOST, base + _ON_TOP[name]))))


def _own() -> int:
    try:
        return int(_SELF.read_text())
    except (OSError, ValueError):
        return 0


class Kills:
    """The number of processes that the kernel killed for lack of memory, in this control group (a whole container)."""

    def __init__(self, mounted: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> None:
        self._events: Path | None = None
        self._limit: Path | None = None
        for self._events, self._limit in _places(mounted, own):
            break
        self._seen = self._count()

    def news(self) -> int:
        """The number of kills since the last call."""
        before, self._seen = self._seen, self._count()
        return max(0, self._seen - before)

    def limit(self) -> str:
        """The memory limit of the group, as text for people."""
        try:
            found = int(self._limit.read_text()) if self._limit else 0
        except (OSError, ValueError):  # "max" is none
            found = 0
        return f"the memory limit of {found >> 20} MiB" if 0 < found < 1 << 60 else "the memory of this machine"

    def _count(self) -> int:
        try:
            lines = self._events.read_text().splitlines() if self._events else []
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _places(mounted: Path, own: Path) -> Iterator[tuple[Path, Path]]:
    """The paths of counter and limit for this process's group; a container may see its own group as the root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    groups = {kinds: path.lstrip("/") for _, kinds, path in (line.split(":", 2) for line in lines)}
    kinds = [
        (mounted, groups.get(""), "memory.events", "memory.max"),
        (mounted / "memory", groups.get("memory"), "memory.oom_control", "memory.limit_in_bytes"),
    ]
    for root, group, events, limit in kinds:
        for folder in (root / group, root) if group is not None else ():
            if (folder / events).is_file():
                yield folder / events, folder / limit
