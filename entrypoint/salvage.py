"""Credentials from the chains in generations that another user than root could have written.

Nothing else there is used: no manifest, path, key or configuration. A PEM file in the place of a chain is vetted like
an answer of CertMgr's, and served with the administrator's own key, or not at all.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.settings import Settings
from entrypoint.core.x509.credential import Credential

log = logging.getLogger("certfront.boot")

_LARGEST = 256 * 1024  # bytes of a chain
_MOST = 10_000  # files


def usable(folder: Path, pairs: Iterable[PairSpec], settings: Settings) -> dict[str, Credential]:
    """The credentials of those pairs, by identity, that a chain below ``folder`` fits."""
    if not folder.is_dir():
        return {}
    from entrypoint.core.x509 import pem

    chains = tuple(dict.fromkeys(ders for data in _files(folder) if (ders := pem.decode(data))))
    found: dict[str, Credential] = {}
    for pair in pairs:
        if not _is_users(pair) and (made := _fitting(pair, chains, settings)):
            found[pair.identity] = made
            log.info("a certificate for %s in %s is sound, and fits your key: it is served", pair.title, folder)
    return found


def _is_users(pair: PairSpec) -> bool:
    return bool(pair.certificate_file) and os.path.lexists(pair.certificate_file)


def _fitting(pair: PairSpec, chains: Iterable[tuple[bytes, ...]], settings: Settings) -> Credential | None:
    from entrypoint.core.model import Refused
    from entrypoint.core.x509 import vet
    from entrypoint.edges import keys, roots

    now = datetime.now(UTC)
    try:
        key = keys.load(Path(pair.key_file), Path(pair.password_file))
        trusted = roots.load(settings.trusted_roots_file) if settings.trusted_roots_file else None
    except Refused:
        return None
    verdicts = (vet.vet(ders, key=key, wanted=pair.names, now=now, roots=trusted) for ders in chains)
    sound = [verdict.chain for verdict in verdicts if verdict.chain]
    if not sound:
        return None
    newest = max(sound, key=lambda chain: (chain.leaf.not_before, chain.leaf.not_after))
    return Credential(newest.ders, key.pem, newest.leaf, installed_at=now)


def _files(folder: Path) -> Iterator[bytes]:
    """The files ``N/certs/NAME/*.pem`` of all generations, the newest first."""
    count = 0
    for generation in sorted(_folders(folder), key=lambda path: (len(path.name), path.name), reverse=True):
        for name in _folders(generation / "certs"):
            for path in _entries(name):
                count += 1
                if count > _MOST:
                    return
                if path.name.endswith(".pem") and (data := _content(path)):
                    yield data


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _content(path: Path) -> bytes:
    """The content of a regular file below the size limit."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = file.read(_LARGEST + 1) if regular else b""
    return data if len(data) <= _LARGEST else b""
