r"""Text of somebody else's on its way to people: ``\xff`` instead of what no encoder takes, or no terminal should get.

Files, and names of files, are read with ``surrogateescape`` and written back byte for byte; certificates hold what the
other side likes. What leaves for a status, a log or a terminal comes through here.
"""

from __future__ import annotations

from typing import Any

_BYTE = range(0xDC80, 0xDD00)  # how surrogateescape writes the bytes 0x80 to 0xff


def shown(text: str, *, lines: bool = True) -> str:
    """The text with whatever is not printable escaped; with ``lines``, line ends stay.

    These are bytes that are not UTF-8, control characters (escape sequences begin with one), marks that turn the
    direction of writing, what has no width, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or (lines and char == "\n") else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if code <= 0xFF or code in _BYTE:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def all_shown(value: Any, *, lines: bool = True) -> Any:
    """A value that is, or was, JSON, with every text in it `shown`."""
    if isinstance(value, str):
        return shown(value, lines=lines)
    if isinstance(value, dict):
        return {all_shown(name, lines=lines): all_shown(each, lines=lines) for name, each in value.items()}
    return [all_shown(each, lines=lines) for each in value] if isinstance(value, list | tuple) else value
