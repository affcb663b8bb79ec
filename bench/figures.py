"""What a measurement says: a figure with its budget, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_HEAD = ("figure", "median", "unit", "lowest .. highest", "budget", "")


@dataclass(frozen=True)
class Figure:
    """Measured several times; the median counts. ``budget`` is the most that design.md allows, in the same unit."""

    name: str
    values: Sequence[float]
    unit: str
    budget: float | None = None

    @property
    def median(self) -> float:
        """The figure itself."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """``ok`` or ``over``, empty where there is no budget."""
        if self.budget is None:
            return ""
        return "ok" if self.median <= self.budget else "over"

    def row(self) -> tuple[str, ...]:
        """The figure's cells of the table."""
        spread = f"{_short(min(self.values))} .. {_short(max(self.values))}" if len(self.values) > 1 else ""
        budget = "" if self.budget is None else f"{self.budget:g}"
        return self.name, _short(self.median), self.unit, spread, budget, self.verdict

    def plain(self) -> dict[str, Any]:
        """The figure for JSON."""
        rounded = [round(value, 4) for value in self.values]
        entry = {"figure": self.name, "median": round(self.median, 4), "unit": self.unit, "values": rounded}
        return entry | ({} if self.budget is None else {"budget": self.budget, "ok": self.verdict == "ok"})


def table(figures: Iterable[Figure]) -> str:
    """All figures, aligned: words to the left, numbers to the right."""
    rows = [_HEAD, *(figure.row() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, median, unit, spread, budget, verdict = (
        cell.rjust(width) if number in (1, 3, 4) else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return f"{name}  {median} {unit}  {spread}  {budget}  {verdict}".rstrip()


def as_json(machine: str, figures: Iterable[Figure]) -> str:
    """The same for programs; times are in the unit that each figure names."""
    return json.dumps({"machine": machine, "figures": [figure.plain() for figure in figures]}, indent=1)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
