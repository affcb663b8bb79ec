"""Which lines of a configuration run: a TLS server without a usable pair is commented out, the rest is left as it is.

A configuration is a list of `Line`. A line that belongs to a TLS server carries the server's name; a line that
belongs to one pair of it carries the pair's identity as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Line:
    """One line of a configuration, without its line end."""

    text: str
    server: str = ""
    pair: str = ""


def gate(lines: Iterable[Line], blocked: Mapping[str, str]) -> str:
    """The configuration with everything commented out that needs a blocked pair.

    ``blocked`` maps a pair's identity to the reason. A server goes as a whole where all of its pairs are blocked;
    where some are, only the lines of these go.
    """
    rendered: list[str] = []
    for server, group in groupby(lines, key=lambda line: line.server):
        members = list(group)
        rendered += _server(members, blocked) if server else [line.text for line in members]
    return "".join(text + "\n" for text in rendered)


def _server(lines: Sequence[Line], blocked: Mapping[str, str]) -> list[str]:
    pairs = list(dict.fromkeys(line.pair for line in lines if line.pair))
    if pairs and all(pair in blocked for pair in pairs):
        reasons = [f"# certfront: commented out: {_one_line(blocked[pair])}" for pair in pairs]
        return reasons + [_comment(line.text) for line in lines]
    return [text for line in lines for text in _line(line, blocked)]


def _line(line: Line, blocked: Mapping[str, str]) -> list[str]:
    if line.pair not in blocked:
        return [line.text]
    return [_comment(f"{line.text}  # certfront: {_one_line(blocked[line.pair])}")]


def _comment(text: str) -> str:
    return f"# {text}" if text else "#"


def _one_line(reason: str) -> str:
    """A reason must never end its comment early: it may quote what a stranger's certificate says."""
    return "".join(char if char.isprintable() else " " for char in reason)
