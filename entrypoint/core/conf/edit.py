"""A rendered copy of a text: words replaced, text inserted, directives commented out, all other bytes unchanged.

Edits are given in offsets of the source. A line map leads from a line of the copy, which NGINX's messages name, back to
the user's line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

_MARK = "# certfront: commented out"
_MARKED = re.compile(rf"^{_MARK}.*\n", re.MULTILINE)
# NGINX has room for 4,096 bytes between two ends of words, and a comment is none: a longer one is "too long parameter".
_LONGEST = 4_000
_SAFE = 1_000  # characters, of four bytes at most


@dataclass(frozen=True, slots=True)
class Replace:
    """The replacement of a span by a text that is valid there: for a word, a result of `quote`.

    With ``start`` and ``end`` equal, the text is inserted. Its line ends are changed to the file's.
    """

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class CommentOut:
    """A span to comment out: one directive with its block, or several in a row. Edits inside have no effect."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A copy, and the source line of each of its lines."""

    text: str = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)

    def source_line(self, line: int) -> int:
        """The source line of a line of the copy. Both count from 1."""
        return self.lines[line - 1]


def quote(value: str) -> str:
    """The word that NGINX reads as ``value``, on one line. A ``$`` stays unescaped: NGINX has no escape for it."""
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(char, escape)
    return f'"{value}"'


def one_line(text: str) -> str:
    """The beginning of a text without control characters, so that it can neither end nor break a comment."""
    return "".join(char if char.isprintable() else " " for char in text[:_SAFE])


def without_marks(text: str) -> str:
    """A rendered copy without the comment lines that give the reason and the time."""
    return _MARKED.sub("", text)


def render(text: str, edits: Iterable[Replace | CommentOut], when: str = "") -> Rendered:
    """Apply the edits. Equal edits count once: servers that share a snippet may all ask for the same edit.

    ``when`` is written beside each reason. Raises ValueError where two edits overlap and neither comments the other
    out.
    """
    copy = _Copy(text, f"{_MARK} at {when}" if when else _MARK)
    for group in _outermost(edits):
        edit = group[0]
        copy.keep(edit.start)
        if isinstance(edit, Replace):
            copy.exchange(edit)
        else:
            copy.comment_out(edit.end, [one_line(other.reason) for other in group if isinstance(other, CommentOut)])
    copy.keep(len(text))
    return copy.rendered()


def _outermost(edits: Iterable[Replace | CommentOut]) -> list[list[Replace | CommentOut]]:
    """The edits in order, without those inside a commented-out span; equal spans are one, with all reasons."""
    groups: list[list[Replace | CommentOut]] = []
    for edit in sorted(dict.fromkeys(edits), key=_order):
        last = groups[-1][0] if groups else None
        if last is None or edit.start >= last.end:
            groups.append([edit])
        elif not isinstance(last, CommentOut) or edit.end > last.end:
            raise ValueError(f"two edits overlap at {edit.start}")
        elif (edit.start, edit.end) == (last.start, last.end):
            groups[-1].append(edit)
    return groups


def _order(edit: Replace | CommentOut) -> tuple[int, bool, int, bool]:
    """The sort key: insertions before the edits that begin at the same offset, outer spans before inner ones."""
    return edit.start, edit.start != edit.end, -edit.end, isinstance(edit, Replace)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a line, with the number of the commented-out span that it belongs to, or 0."""

    text: str
    line: int
    span: int = 0

    @property
    def blank(self) -> bool:
        return not self.span and not self.text.strip(" \t\r")


class _Copy:
    def __init__(self, text: str, mark: str) -> None:
        self.text, self.mark = text, mark
        self.at, self.line = 0, 1
        self.lines: list[list[_Part]] = [[]]
        self.reasons: list[list[str]] = [[]]
        first = text.find("\n")
        self.cr = "\r" if first > 0 and text[first - 1] == "\r" else ""

    def keep(self, end: int, span: int = 0) -> None:
        """Copy the text up to an offset."""
        text = self.text[self.at : end]
        self._add(text, span, self.line + text.count("\n"))
        self.at = end

    def comment_out(self, end: int, reasons: list[str]) -> None:
        """Copy the text up to an offset as a comment."""
        self.reasons.append(reasons)
        self.keep(end, len(self.reasons) - 1)

    def exchange(self, edit: Replace) -> None:
        """Insert a text in place of another; empty lines compensate for missing ones."""
        old, new = self.text[edit.start : edit.end], edit.text.replace("\r\n", "\n")
        new += "\n" * (old.count("\n") - new.count("\n"))
        self._add(new.replace("\n", f"{self.cr}\n"), 0, self.line + old.count("\n"))
        self.at = edit.end

    def _add(self, text: str, span: int, last: int) -> None:
        for number, part in enumerate(text.split("\n")):
            if number:
                self.lines.append([])
            self.lines[-1].append(_Part(part, min(self.line + number, last), span))
        self.line = last

    def rendered(self) -> Rendered:
        lines = [line for parts in self.lines for line in self._separate(parts)]
        return Rendered("\n".join(line.text for line in lines), tuple(line.line for line in lines))

    def _separate(self, parts: list[_Part]) -> Iterator[_Part]:
        """The parts of a line, each on a line of its own, as a comment extends to the end of its line."""
        parts = parts if len(parts) == 1 else _merged(parts)
        for number, part in enumerate(parts, 1):
            yield from (_Part(f"{self.mark}: {reason}{self.cr}", part.line) for reason in self.reasons[part.span])
            self.reasons[part.span] = []
            texts = _comments(part.text) if part.span else [part.text]
            ends = [self.cr] * (len(texts) - 1) + [self.cr if number < len(parts) else ""]
            yield from (_Part(text + end, part.line) for text, end in zip(texts, ends, strict=True))


def _comments(text: str) -> list[str]:
    """A line as a comment, or as several comments where it exceeds NGINX's buffer."""
    size = len(text) if len(text.encode("utf-8", "surrogatepass")) <= _LONGEST else _SAFE
    parts = [text[start : start + size] for start in range(0, len(text), size or 1)] or [""]
    return [f"# {part}" if part.strip("\r") else f"#{part}" for part in parts]


def _merged(parts: Iterable[_Part]) -> list[_Part]:
    """The parts with equal neighbours merged, and white space around commented-out parts included in them."""
    merged: list[_Part] = []
    for span, group in groupby(parts, key=lambda part: part.span):
        same = list(group)
        part = replace(same[0], text="".join(one.text for one in same))
        if merged and (part.blank or merged[-1].blank):
            before = merged.pop()
            part = replace(before, text=before.text + part.text, span=before.span or span)
        merged.append(part)
    return merged
