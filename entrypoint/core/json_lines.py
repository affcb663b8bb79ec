"""Lines of other programs' output as JSON objects with the keys of certfront's own log."""

from __future__ import annotations

import json
import re
from datetime import datetime

from entrypoint.core.times import rfc3339

_NGINX = re.compile(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d |nginx: )\[(?P<level>[a-z]+)\] (?:\d+#\d+: )?(?P<message>.*)")
_LEVELS = {"notice": "info", "warn": "warning", "crit": "critical", "alert": "critical", "emerg": "critical"}


def wrapped(line: str, logger: str, now: datetime) -> str:
    """A line as a JSON object; a line that is an object already stays as it is.

    NGINX's timestamp, which has no time zone, is replaced by ``now``, and its process numbers are dropped.
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
