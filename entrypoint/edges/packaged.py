"""The configuration files in the package."""

from __future__ import annotations

import functools
from pathlib import Path

import entrypoint


@functools.cache
def packaged() -> dict[str, str]:
    """The packaged ``nginx`` folder, text by relative path: beside the package in a checkout, inside it in a wheel."""
    package = Path(entrypoint.__file__).parent
    folder = next(path for path in (package / "nginx", package.parent / "nginx") if path.is_dir())
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}
