"""A line that somebody else wrote, as a JSON object with the keys of our own log."""

from __future__ import annotations

import json
import re
from datetime import datetime

from entrypoint.core.times import rfc3339

_NGINX = re.compile(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d |nginx: )\[(?P<level>[a-z]+)\] (?:\d+#\d+: )?(?P<message>.*)")
_LEVELS = {"notice": "info", "warn": "warning", "crit": "critical", "alert": "critical", "emerg": "critical"}


def wrapped(line: str, logger: str, now: datetime) -> str:
    """What is an object already stays as it is.

    NGINX's time, which knows no zone, gives way to ``now``, and its process numbers go.
    """
    if line.startswith("{") and _is_object(line):
        return line
    found = _NGINX.match(line)
    level = _LEVELS.get(found["level"], found["level"]) if found else "info"
    message = found["message"] if found else line
    entry = {"time": rfc3339(now), "level": level, "logger": logger, "message": message}
    return json.dumps(entry, ensure_ascii=False)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
