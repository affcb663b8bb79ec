"""Templates of NGINX configuration: ``@{name}`` is a placeholder, the rest is NGINX's language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Template


class _Template(Template):
    delimiter = "@"
    pattern = r"@(?:(?P<escaped>@)|(?P<named>\b\B)|\{(?P<braced>[a-z0-9_]+)\}|(?P<invalid>\b\B))"  # type: ignore[assignment]


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill ``@{name}``. A line that holds only a placeholder takes its indentation to every line of the value."""
    lines = []
    for line in template.splitlines():
        alone = re.fullmatch(r"(\s*)@\{([a-z0-9_]+)\}", line)
        if alone:
            lines += [f"{alone[1]}{part}" if part else "" for part in values[alone[2]].splitlines()]
        else:
            lines.append(_Template(line).substitute(values))
    return "\n".join(lines) + "\n"
