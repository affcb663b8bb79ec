"""NGINX's password files in the run folder.

A generation outlives the user's password file: when that file changes, the pair that is served must still load. So
each generation names a file of its own, which only its owner can read and which never leaves the run folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from entrypoint.core.x509.pem import split_passwords
from entrypoint.system import files


def lines(path: Path) -> list[bytes]:
    """The passwords in a file; none where it cannot be read."""
    try:
        return list(split_passwords(files.read(path)))
    except OSError:
        return []


def copies(folder: Path) -> list[bytes]:
    """The passwords in all files that are left of earlier generations."""
    return [line for path in sorted(folder.glob("*.txt")) for line in lines(path)]


def write(path: Path, passwords: Iterable[bytes]) -> None:
    """Replace a password file by one rename."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = path.with_suffix(".new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(password + b"\n" for password in dict.fromkeys(passwords))
    staging.rename(path)


def keep_only(folder: Path, kept: Iterable[str]) -> None:
    """Forget the password files that no generation in use names."""
    wanted = set(kept)
    for path in (*folder.glob("*.txt"), *folder.glob("*.new")):  # a stop in the middle leaves the latter
        if str(path) not in wanted:
            path.unlink(missing_ok=True)
