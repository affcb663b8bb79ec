"""Private keys, decrypted once into memory: a tmpfs under the run folder, for many servers or a slow key derivation.

NGINX decrypts each key of each server at every test, start and reload; what is decrypted here, it only reads.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509.pem import PRIVATE_KEY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_IN_MEMORY = ("tmpfs", "ramfs")


def require_memory(folder: Path) -> None:
    """Refuse a folder that lies on a disk. Raises `Refused` (config-rejected)."""
    kind = _file_system(folder)
    if kind not in _IN_MEMORY:
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"KEY_UNLOCK=memory: {folder} is no tmpfs ({kind}), and a decrypted key must never reach a disk",
            f"mount one: --tmpfs {folder}:size=64m; or leave KEY_UNLOCK=nginx",
        )


def _file_system(folder: Path) -> str:
    done = subprocess.run(
        ["stat", "--file-system", "--format=%T", "--", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout.strip() or "unknown"


def write(path: Path, key_pem: bytes, passwords: Iterable[bytes]) -> None:
    """Put the decrypted key there, unless it is there already; what no password opens is left out: NGINX names it."""
    if path.exists():
        return
    plain = _decrypted(key_pem, passwords)
    if plain is None:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = path.with_suffix(".new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(plain)
    staging.rename(path)


def password(key_pem: bytes, passwords: Iterable[bytes]) -> bytes | None:
    """The first of the passwords that opens an encrypted key."""
    opened = _opened(key_pem, passwords)
    return opened[1] if opened else None


def _decrypted(key_pem: bytes, passwords: Iterable[bytes]) -> bytes | None:
    from cryptography.hazmat.primitives import serialization

    if not (opened := _opened(key_pem, passwords)):
        return None
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return opened[0].private_bytes(encoding, form, serialization.NoEncryption())


def _opened(key_pem: bytes, passwords: Iterable[bytes]) -> tuple[PrivateKeyTypes, bytes] | None:
    from cryptography.hazmat.primitives import serialization

    block = PRIVATE_KEY.search(key_pem)
    for password in dict.fromkeys(passwords) if block else ():
        with contextlib.suppress(ValueError, TypeError):  # noise decrypted with the wrong password breaks in many ways
            return serialization.load_pem_private_key(block[0] if block else b"", password), password
    return None


def keep_only(folder: Path, kept: Iterable[str]) -> None:
    """Forget the keys that no generation in use names."""
    wanted = set(kept)
    for path in (*folder.glob("*.pem"), *folder.glob("*.new")):  # a stop in the middle leaves the latter
        if str(path) not in wanted:
            path.unlink(missing_ok=True)
