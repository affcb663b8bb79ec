r"""Bytes that are not UTF-8, on their way to people: ``\xff`` instead of what no encoder takes.

Files, and names of files, are read with ``surrogateescape`` and written back byte for byte; what leaves for a status, a
log or a terminal comes through here.
"""

from __future__ import annotations

import re
from typing import Any

_LOST = re.compile("[\ud800-\udfff]")
_BYTE = range(0xDC80, 0xDD00)  # how surrogateescape writes the bytes 0x80 to 0xff


def shown(text: str) -> str:
    """The text with such bytes escaped."""
    return text if text.isascii() else _LOST.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if code in _BYTE else f"\\u{code:04x}"


def all_shown(value: Any) -> Any:
    """A value that is to be JSON, with every text in it `shown`."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {all_shown(name): all_shown(each) for name, each in value.items()}
    return [all_shown(each) for each in value] if isinstance(value, list | tuple) else value
