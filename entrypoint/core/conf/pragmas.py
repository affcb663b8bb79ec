"""Comments to certfront in the user's configuration: ``# certfront: lookup=NAME`` and ``# certfront: off``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from entrypoint.core.conf.syntax import Parsed
from entrypoint.core.names import to_ascii

# A rendered copy says what is "commented out", and may well have become a source again.
_NOTE = re.compile(r"#\s*certfront:(?!\s*commented out)(.*)")


@dataclass(frozen=True, slots=True)
class Note:
    """The request in a comment: another lookup name, or ``off``; ``problem`` is the error in an invalid comment."""

    start: int
    line: int
    lookup: str = ""
    off: bool = False
    problem: str = ""


def notes(parsed: Parsed) -> Iterator[Note]:
    """The comments to certfront in a text, in order."""
    for comment in parsed.comments:
        if match := _NOTE.fullmatch(comment.text):
            yield _note(Note(comment.start, comment.line), match[1].strip())


def _note(note: Note, text: str) -> Note:
    lookup = text.removeprefix("lookup=")
    if text == "off":
        return Note(note.start, note.line, off=True)
    if lookup == text:
        return Note(note.start, note.line, problem=f'certfront knows "lookup=NAME" and "off", not "{text}"')
    try:
        return Note(note.start, note.line, lookup=to_ascii(lookup))
    except ValueError as error:
        return Note(note.start, note.line, problem=f"lookup: {error}")
