"""What this machine and its NGINX can do."""

from __future__ import annotations

from dataclasses import replace

from entrypoint.core.generation.site import Facts
from entrypoint.core.settings import Settings
from entrypoint.edges import nginx, packaged, temporary


def facts(settings: Settings, program: str) -> tuple[Facts, tuple[str, ...]]:
    """The facts that a configuration depends on, and a sentence for each thing that the machine lacks.

    Raises `Refused` where the program does not say its version.
    """
    build = nginx.build(program)
    found, warnings = packaged.facts(build.version, settings.run_dir, http3=build.http3)
    return replace(found, openssl=build.openssl, temp_dir=temporary.elsewhere(settings.run_dir)), warnings
