"""What this machine and its NGINX can do."""

from __future__ import annotations

from dataclasses import replace

from entrypoint.core.options import Settings
from entrypoint.core.site import Facts
from entrypoint.edges import nginx, source, temporary


def facts(settings: Settings, program: str) -> tuple[Facts, tuple[str, ...]]:
    """The facts that a configuration depends on, and a sentence for each thing that the machine lacks.

    NGINX is asked for HTTP/3 only where somebody wants it. Raises `Refused` where the program does not say its version.
    """
    http3 = settings.http3 and nginx.has_http3(program)
    found, warnings = source.facts(nginx.version(program), settings.run_dir, http3=http3)
    return replace(found, temp_dir=temporary.elsewhere(settings.run_dir)), warnings
