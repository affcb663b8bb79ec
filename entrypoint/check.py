"""The check of one pair: its key, then the user's certificate file or CertMgr's answer, and the verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.x509 import Certificate

from entrypoint.core.generation import findings
from entrypoint.core.generation.managed import Found, ManagedPair
from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.settings import Endpoint, Settings
from entrypoint.core.x509 import pem
from entrypoint.core.x509.certificate import reason
from entrypoint.edges import certmgr, key_files, keys, roots, watch
from entrypoint.system import files

log = logging.getLogger("certfront")

AT_ONCE = 16  # connections


async def check_all(
    pairs: Sequence[ManagedPair], settings: Settings, now: datetime, *, force: bool
) -> dict[str, Found]:
    """The results for all pairs, a limited number at once, to spare CertMgr and this machine.

    An error in one check is that pair's problem, and does not end the others.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(pair: ManagedPair) -> Found:
        async with limit:
            try:
                found = await check(pair, settings, now, force=force)
            except BaseException as error:  # noqa: BLE001 - what the other side sent must not end all checks
                found = Found(pair.kept, _unexpected(error))
            return pair.go_on(found, lambda: key_files.passwords(Path(pair.spec.password_file)))

    found = await asyncio.gather(*map(one, pairs))
    return {pair.identity: each for pair, each in zip(pairs, found, strict=True)}


def _unexpected(error: BaseException) -> Problem:
    """The problem behind what should never have been raised. The end of this process passes, as BaseException does.

    A panic of cryptography's Rust half is no Exception, and has no name to import.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    log.debug("a check failed unexpectedly", exc_info=error)
    detail = f"the check failed unexpectedly ({type(error).__name__}: {reason(error)})"
    return Problem(Outcome.MALFORMED, detail, "is what came back a certificate? `certfront fetch NAME` shows it")


async def check(pair: ManagedPair, settings: Settings, now: datetime, *, force: bool) -> Found:
    """Check one pair: against the user's own certificate file if it exists, else against CertMgr."""
    key = _key(pair)
    if isinstance(key, Problem):
        return Found(pair.kept, key)
    if found := _own(pair, key, now):
        return found
    if problem := findings.unaskable(pair.spec, key, settings):
        return Found(pair.kept, problem)
    failed: list[tuple[str, Found]] = []
    for endpoint in settings.certmgr_hosts:
        found = await _answer(endpoint, pair, key, settings, now, force)
        if found.problem is None:
            return found
        failed.append((str(endpoint), found))
    return findings.of_several_hosts(pair, failed)


def _key(pair: ManagedPair) -> Key | Problem:
    """Our key, read again only when its file or the passwords changed."""
    paths = Path(pair.spec.key_file), Path(pair.spec.password_file)
    return pair.current_key(watch.contents(paths), lambda: keys.found(*paths))


def _own(pair: ManagedPair, key: Key, now: datetime) -> Found | None:
    """The result for the user's own certificate file, None where there is none."""
    path = pair.spec.certificate_file
    if not path:
        return None
    try:
        return findings.of_file(pair, key, pem.decode(files.read(path)), now)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Found(pair.running, Problem(Outcome.MALFORMED, f"{path} cannot be read: {error.strerror}"))


async def _answer(
    server: Endpoint, pair: ManagedPair, key: Key, settings: Settings, now: datetime, force: bool
) -> Found:
    def trusted() -> Sequence[Certificate] | None:
        return roots.load(settings.trusted_roots_file) if settings.trusted_roots_file else None

    try:
        ders = await certmgr.fetch(server.host, server.port, pair.spec.lookup, key.key_type, settings.timeout)
        return findings.of_answer(pair, key, ders, certmgr=str(server), roots=trusted, now=now, force=force)
    except Refused as error:
        return Found(None, error.problem)
