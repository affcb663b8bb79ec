r"""Foreign text made printable: ``\xff`` in place of bytes and characters that no encoder or terminal should get.

Files and file names are read with ``surrogateescape`` and written back byte for byte; certificates hold arbitrary text.
All text for status, log and terminal comes through here.
"""

from __future__ import annotations

from typing import Any, TypeGuard

_BYTE = range(0xDC80, 0xDD00)  # how surrogateescape writes the bytes 0x80 to 0xff


def shown(text: str, *, lines: bool = True) -> str:
    """The text with all unprintable characters escaped; with ``lines``, line ends stay.

    Unprintable are bytes that are not UTF-8, control characters (escape sequences begin with one), direction marks,
    characters without width, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or (lines and char == "\n") else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if code <= 0xFF or code in _BYTE:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value that was JSON is a text that every encoder takes: one without half of a surrogate pair."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def all_shown(value: Any, *, lines: bool = True) -> Any:
    """A JSON value in which `shown` is applied to every text."""
    if isinstance(value, str):
        return shown(value, lines=lines)
    if isinstance(value, dict):
        return {all_shown(name, lines=lines): all_shown(each, lines=lines) for name, each in value.items()}
    return [all_shown(each, lines=lines) for each in value] if isinstance(value, list | tuple) else value
