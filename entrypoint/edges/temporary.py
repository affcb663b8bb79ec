"""NGINX's temporary files: visitors decide how many and how big they are, so they go elsewhere than what is ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_CACHE = Path("/var/cache/nginx")  # the official image's


def elsewhere(run_dir: Path, cache: Path = _CACHE) -> str:
    """A folder for them on another file system than the run folder; empty where there is none that we may use."""
    folder = cache / "certfront"
    try:
        found, ours = cache.stat(), run_dir.stat()
        # As root, NGINX gives what it finds there to its workers: nobody else may have put it there.
        foreign = os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if foreign or found.st_dev == ours.st_dev:
            return ""
        folder.mkdir(exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else ""


def prepare(folder: Path) -> None:
    """Make the folders, and remove what a killed NGINX left in them; NGINX complains of what cannot be made."""
    for kind in KINDS:
        with contextlib.suppress(OSError):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for left in list((folder / kind).iterdir()):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()
