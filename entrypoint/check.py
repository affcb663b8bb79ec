"""One certificate looked at: our key, what CertMgr presents, and the verdict on both together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from entrypoint.core import status
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import CertificateInfo, Key, Outcome, Problem, Refused
from entrypoint.core.settings import Endpoint, Settings
from entrypoint.core.status import Record
from entrypoint.core.x509 import own, pem, vet
from entrypoint.core.x509.certificate import reason
from entrypoint.core.x509.credential import Credential, issued
from entrypoint.edges import certmgr, keys, roots, watch
from entrypoint.system import files

log = logging.getLogger("certfront")

AT_ONCE = 16  # connections
_KEY_OUTCOMES = (Outcome.KEY_MISMATCH, Outcome.KEY_TYPE_MISMATCH)


@dataclass
class ManagedPair:
    """What the agent remembers of one pair.

    ``credential`` is the stored one; ``live`` says that the live generation has it, ``served`` that a server presents
    it: NGINX may have refused the one that would. ``unproved`` says why no handshake proves that, where none does.
    """

    wanted: PairSpec
    record: Record
    credential: Credential | None = None
    live: bool = False
    served: bool = False
    presented: tuple[bytes, ...] = field(default=(), repr=False)
    warnings: tuple[Problem, ...] = ()
    key: Key | Problem | None = None
    key_contents: str = ""
    opened: tuple[str, bytes | None] = field(default=("", None), repr=False)  # the stored key: see `stored`
    said: tuple[object, ...] = ()
    warned: tuple[object, ...] = ()
    unproved: str = ""

    @property
    def identity(self) -> str:
        """What the pair is known by."""
        return self.wanted.identity

    @property
    def ders(self) -> tuple[bytes, ...]:
        """The stored chain, empty without one."""
        return self.credential.ders if self.credential else ()


@dataclass(frozen=True)
class Found:
    """The result of a look: a pair to serve (or None: nothing usable), and the problem if there is one."""

    credential: Credential | None
    problem: Problem | None
    info: CertificateInfo | None = None
    certmgr: str = ""
    presented: tuple[bytes, ...] = ()
    warnings: tuple[Problem, ...] = ()


def restore(slot: ManagedPair, stored: Credential | None) -> None:
    """Remember what the generations hold for a pair."""
    try:
        found = stored and stored.described()
    except Refused:
        return
    if found and found.fits(slot.wanted.names):  # the site may have got another name since
        slot.credential = found


def show_served(slot: ManagedPair) -> None:
    """Bring the record in line with the pair that is live."""
    known, record = slot.credential, slot.record
    leaf = known.leaf if known and slot.served else None
    slot.record = replace(
        record,
        served=leaf,
        key_type=leaf.key_type if leaf else record.key_type,
        certmgr=(known and known.certmgr) or record.certmgr,
        source=known.source if known else record.source,
        changed_at=known.installed_at if known and leaf else None,
    )


def read_key(slot: ManagedPair) -> Key | Problem:
    """Our key, read again only when its file or the passwords changed: a slow derivation must not cost every check."""
    contents = watch.contents((Path(slot.wanted.key_file), Path(slot.wanted.password_file)))
    if slot.key is None or contents != slot.key_contents:
        try:
            slot.key = keys.load(Path(slot.wanted.key_file), Path(slot.wanted.password_file))
        except Refused as error:
            slot.key = error.problem
        slot.key_contents = contents
    return slot.key


async def look_at_all(slots: Sequence[ManagedPair], settings: Settings, now: datetime, *, force: bool) -> list[Found]:
    """A finding for each, of so many at once that neither CertMgr nor this machine is flooded.

    Whatever one of them provokes is that pair's problem, and does not end the look at the others.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(slot: ManagedPair) -> Found:
        async with limit:
            try:
                return await look(slot, settings, now, force=force)
            except BaseException as error:  # noqa: BLE001 - what the other side sent must not end all looks
                return Found(_kept(slot, slot.key if isinstance(slot.key, Key) else None), _unexpected(error))

    return list(await asyncio.gather(*map(one, slots)))


def _unexpected(error: BaseException) -> Problem:
    """The problem behind what should never have been raised. The end of this process passes, as BaseException does.

    A panic of cryptography's Rust half is no Exception, and has no name to import.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    log.debug("a look failed unexpectedly", exc_info=error)
    detail = f"the check failed unexpectedly ({type(error).__name__}: {reason(error)})"
    return Problem(Outcome.MALFORMED, detail, "is what came back a certificate? `certfront fetch NAME` shows it")


async def look(slot: ManagedPair, settings: Settings, now: datetime, *, force: bool) -> Found:
    """Check one pair: against the user's own certificate where there is one, else against CertMgr."""
    key = read_key(slot)
    if isinstance(key, Problem):
        return Found(_kept(slot, None), key)
    if (file := _own(slot)) is not None:
        return file if isinstance(file, Found) else _vetted_own(slot, file, key, now)
    if problem := _unaskable(slot.wanted, key, settings):
        return Found(_kept(slot, key), problem)
    problems: list[tuple[str, Problem]] = []
    info = None
    for endpoint in settings.certmgr_hosts:
        found = await _ask(endpoint, slot, key, settings, now, force)
        if found.problem is None:
            return found
        problems.append((str(endpoint), found.problem))
        info = info or found.info
    host, problem = status.of_several_hosts(problems)
    return Found(_kept(slot, key), problem, info=info, certmgr=host)


def _unaskable(pair: PairSpec, key: Key, settings: Settings) -> Problem | None:
    """Why CertMgr need not even be asked."""
    if key.key_type is None:
        detail = f"the key in {pair.key_file} is neither an RSA nor an ECDSA one, and CertMgr has no others"
        return Problem(Outcome.KEY_UNREADABLE, detail, "export the key from the TLS Credentials document")
    if not pair.lookup:
        detail = "the server has no name that CertMgr could be asked for"
        hint = "set CERTMGR_LOOKUP to the name to ask for, or add `# certfront: lookup=NAME` to the server"
        return Problem(Outcome.CONFIG_REJECTED, detail, hint)
    if not settings.certmgr_hosts:
        hint = "set CERTMGR_HOST to the Domino server that runs CertMgr"
        return Problem(Outcome.UNREACHABLE, "CERTMGR_HOST is not set", hint)
    return None


async def _ask(
    endpoint: Endpoint, slot: ManagedPair, key: Key, settings: Settings, now: datetime, force: bool
) -> Found:
    source = str(endpoint)
    try:
        lookup = slot.wanted.lookup
        ders = await certmgr.fetch(endpoint.host, endpoint.port, lookup, key.key_type, settings.timeout)
        if _same_as_before(slot, ders, key, now):
            kept = _kept(slot, key)
            return Found(kept, None, certmgr=source, presented=ders, warnings=slot.warnings)
        trusted = roots.load(settings.trusted_roots_file) if settings.trusted_roots_file else None
        served = slot.credential.leaf if slot.credential else None
        verdict = vet.vet(
            ders,
            key=key,
            wanted=slot.wanted.names,
            now=now,
            served=served,
            roots=trusted,
            asked=lookup,
            force=force,
        )
    except Refused as error:
        return Found(None, error.problem)
    if verdict.chain is None:
        return Found(None, status.one_problem(verdict), info=verdict.found)
    found = issued(verdict.chain, key, source, now)
    return Found(found, None, certmgr=source, presented=ders, warnings=verdict.warnings)


def _own(slot: ManagedPair) -> tuple[bytes, ...] | Found | None:
    """The user's own certificate file: None where there is none, a finding where it cannot be used."""
    path = slot.wanted.certificate_file
    if not path:
        return None
    try:
        ders = pem.decode(files.read(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Found(running(slot), Problem(Outcome.MALFORMED, f"{path} cannot be read: {error.strerror}"))
    if not ders:
        hint = "give the leaf and its intermediates, in PEM form"
        return Found(running(slot), Problem(Outcome.MALFORMED, f"there is no certificate in {path}", hint))
    return ders


def _vetted_own(slot: ManagedPair, ders: tuple[bytes, ...], key: Key, now: datetime) -> Found:
    if _same_as_before(slot, ders, key, now):
        return Found(_kept(slot, key), None, presented=ders, warnings=slot.warnings)
    verdict = own.judge(ders, key=key, now=now)
    if verdict.chain is None:
        problem = status.one_problem(verdict)
        if problem:
            hint = f"{slot.wanted.certificate_file} and {slot.wanted.key_file} must belong together"
            detail = f"{slot.wanted.certificate_file}: {problem.detail}"
            problem = Problem(problem.outcome, detail, hint if problem.outcome in _KEY_OUTCOMES else problem.hint)
        return Found(_kept(slot, key), problem, info=verdict.found)
    found = _kept(slot, key) if verdict.chain.ders == slot.ders else issued(verdict.chain, key, "", now)
    return Found(found, None, presented=ders, warnings=verdict.warnings)


def _same_as_before(slot: ManagedPair, ders: tuple[bytes, ...], key: Key, now: datetime) -> bool:
    """The idle check's short cut: byte for byte what was vetted before, still within its dates, for the same key."""
    leaf = slot.credential and slot.credential.leaf
    return bool(leaf and ders == slot.presented and leaf.spki == key.spki and leaf.not_before <= now < leaf.not_after)


def _kept(slot: ManagedPair, key: Key | None) -> Credential | None:
    """What goes on being served: the stored chain with our key if they fit, otherwise the stored pair if it runs."""
    if slot.credential and key and key.spki == slot.credential.leaf.spki:
        return slot.credential.with_key(key.pem)
    return running(slot)


def running(slot: ManagedPair) -> Credential | None:
    """The pair that the live generation has."""
    return slot.credential if slot.live else None
