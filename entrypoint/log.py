"""certfront's log on standard error: text for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable

from entrypoint.core.shown import shown

_LINE_END = re.compile("\n(?! )")
_LONGEST = 2048  # bytes of one message with what stands around it; some collectors split what is longer


class _Text(logging.Formatter):
    """The text format: a record begins with a line that begins with a time; its other lines are indented."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return _clipped(_LINE_END.sub("\n  ", super().formatMessage(record)), _LONGEST)


class _Json(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        spare = _LONGEST - len(_object({**entry, "message": ""}))
        if len(_object(entry["message"])) > spare:
            entry["message"] = _clipped(entry["message"], spare * spare // len(_object(entry["message"])))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry | getattr(record, "fields", {}), ensure_ascii=False)


def _shown(record: logging.LogRecord) -> bool:
    """The text with all unprintable characters escaped, for UTF-8, JSON and terminals."""
    record.msg, record.args = shown(record.getMessage()), None
    return True


def _object(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")


def _clipped(text: str, most: int) -> str:
    """The text, cut to a number of bytes, with the number of missing bytes."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= most:
        return text
    left = data[: most - len(_more(len(data)))].decode(errors="ignore")
    return left + _more(len(data) - len(left.encode()))


def _more(number: int) -> str:
    return f" … and {number} bytes more"


def setup(style: str, level: str) -> None:
    """Configure logging for ``LOG_FORMAT`` and ``LOG_LEVEL``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    handler.addFilter(_shown)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It warns of peers that close a connection right behind the handshake, which is theirs to do.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def say(lines: Iterable[tuple[str, str]]) -> None:
    """Log what is decided in core: levels and texts."""
    for level, text in lines:
        getattr(logging.getLogger("certfront"), level)("%s", text)
