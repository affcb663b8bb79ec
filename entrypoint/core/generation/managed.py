"""A managed pair: its specification, its stored and live credential, and its last check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from entrypoint.core import schedule, status
from entrypoint.core.generation.manifest import StoredPair
from entrypoint.core.generation.news import Line
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.variants import of_the_old_key
from entrypoint.core.model import CertificateInfo, Key, Outcome, Problem, Refused
from entrypoint.core.status import Record
from entrypoint.core.x509.credential import Credential
from entrypoint.core.x509.decryption import opener
from entrypoint.core.x509.pem import is_encrypted


@dataclass(frozen=True)
class Found:
    """The result of a check: a credential to serve, None if there is none, and the problem if there is one.

    ``info`` has the facts of a refused certificate, ``certmgr`` is the server that answered, ``presented`` is the whole
    presented chain of the credential.
    """

    credential: Credential | None
    problem: Problem | None
    info: CertificateInfo | None = None
    certmgr: str = ""
    presented: tuple[bytes, ...] = ()
    warnings: tuple[Problem, ...] = ()


class ManagedPair:
    """A pair's specification, its credential and the record of its last check. Only its own methods change it.

    ``credential`` is the stored one; ``live``: the live generation has it; ``served``: a running server presents it.
    ``key`` is the content of the key file, or its problem. ``warnings`` belong to the chain that was vetted last.
    ``unproved`` is the reason why no handshake proves that the pair is served.
    """

    def __init__(self, spec: PairSpec, stored: Credential | None = None, entry: StoredPair | None = None) -> None:
        self.spec = spec
        self.credential = _fitting(stored, spec)
        self.live = bool(self.credential and entry)
        self.served = bool(self.live and entry and entry.presented)
        self.key: Key | Problem | None = None
        self.warnings: tuple[Problem, ...] = ()
        self.unproved = ""
        self._key_contents = ""
        self._vetted: tuple[bytes, ...] = ()
        self._opened: tuple[str, bytes | None] = "", None  # the stored key, with the key file's contents of then
        self._said: tuple[object, ...] = ()
        self._warned: tuple[object, ...] = ()
        self.record = Record(spec.title, _names(spec))
        self._show_served()

    @property
    def identity(self) -> str:
        """The pair's identity."""
        return self.spec.identity

    @property
    def running(self) -> Credential | None:
        """The credential in the live generation."""
        return self.credential if self.live else None

    @property
    def passwords(self) -> tuple[bytes | None, bytes | None]:
        """The passwords that open the current key and the stored one."""
        return self.key.password if isinstance(self.key, Key) else None, self._opened[1]

    def specify(self, spec: PairSpec) -> None:
        """Take over a new specification; a changed one means that the chain is vetted again."""
        if spec != self.spec:
            self._vetted = ()
            self.record = replace(self.record, name=spec.title, wanted=_names(spec), next_check_at=None)
        self.spec = spec

    def doubt(self) -> None:
        """Mark the pair as not served."""
        self.served = False
        self._show_served()

    def note_unproved(self, why: str) -> None:
        """Note why no handshake proves that the pair is served; empty where one does."""
        self.unproved = why

    def current_key(self, contents: str, load: Callable[[], Key | Problem]) -> Key | Problem:
        """The current key, loaded only if the ``contents`` of its files are new: key derivation may be slow."""
        if self.key is None or contents != self._key_contents:
            self.key, self._key_contents = load(), contents
        return self.key

    @property
    def kept(self) -> Credential | None:
        """The credential to serve on: the stored chain with our key if they fit, else the one that runs."""
        if self.credential and isinstance(self.key, Key) and self.key.spki == self.credential.leaf.spki:
            return self.credential.with_key(self.key.pem)
        return self.running

    def knows(self, ders: tuple[bytes, ...], key: Key, now: datetime) -> bool:
        """The idle check's short cut: the same bytes as vetted before, within their dates, for the same key."""
        leaf = self.credential and self.credential.leaf
        return bool(leaf and ders == self._vetted and leaf.spki == key.spki and leaf.not_before <= now < leaf.not_after)

    def go_on(self, found: Found, passwords: Callable[[], Iterable[bytes]]) -> Found:
        """A result without a credential, completed by the stored one; or, if no password opens its key, by the reason.

        The start may have left it out for that reason, and one of the ``passwords`` may have been added since.
        """
        stored = self.credential
        if found.credential or self.live or not stored:
            return found
        if not is_encrypted(stored.key_pem) or self._opens(stored.key_pem, passwords):
            return replace(found, credential=stored)
        if not isinstance(self.key, Key):
            return found
        old = of_the_old_key(self.spec)
        besides = f"; {found.problem.outcome}: {found.problem.detail}" if found.problem else ""
        return replace(found, problem=Problem(old.outcome, old.detail + besides, old.hint))

    def _opens(self, key_pem: bytes, passwords: Callable[[], Iterable[bytes]]) -> bool:
        """Whether one of the passwords opens the stored key; tried again only when the files change."""
        if self._opened[0] != self._key_contents:
            self._opened = self._key_contents, opener(key_pem, passwords())
        return self._opened[1] is not None

    def note_live(self, live: Credential | None, *, presented: bool, found: Found | None) -> None:
        """Note the credential in the live generation, ``presented`` or not, and the check that ``found`` it."""
        self.live, self.served = live is not None, presented
        for known in (found and found.credential, self.credential):
            if live and known and known.ders == live.ders:
                self.credential = known.with_key(live.key_pem)
                return

    def note_check(self, found: Found, failure: Problem | None, now: datetime, interval: float, spread: float) -> None:
        """Note the end of a check; ``failure`` is that of making its result live. For the rest see `schedule`."""
        before, ders = self.record.served, self.credential.ders if self.credential else ()
        if not found.problem and not failure:
            self._vetted = ders if ders == found.presented else found.presented  # kept once
            self.warnings = found.warnings
        self._show_served()
        good = Outcome.UNCHANGED if before == self.record.served else Outcome.INSTALLED
        if not found.problem and self.served and found.credential and found.credential.ders == ders:
            failure = None
        remarks = (*self.warnings, *([Problem(good, self.unproved)] if self.unproved else []))
        checked = status.checked(self.record, found.problem or failure, good, now, remarks)
        pending = checked.served is None
        delay = schedule.next_check(interval=interval, failures=checked.failures, pending=pending, spread=spread)
        self.record = replace(
            checked,
            key_type=self.key.key_type if isinstance(self.key, Key) else checked.key_type,
            certmgr=found.certmgr or checked.certmgr,
            next_check_at=now + timedelta(seconds=delay),
        )

    def _show_served(self) -> None:
        """Update the record to the live credential."""
        known, record = self.credential, self.record
        leaf = known.leaf if known and self.served else None
        self.record = replace(
            record,
            served=leaf,
            key_type=leaf.key_type if leaf else record.key_type,
            certmgr=(known and known.certmgr) or record.certmgr,
            source=known.source if known else record.source,
            changed_at=known.installed_at if known and leaf else None,
        )

    def is_due(self, now: datetime, soon: float, longest: float) -> bool:
        """Whether a check is due within ``soon`` seconds, so that many pairs are checked in few cycles.

        A time that is further ahead than ``longest`` was planned by a clock that has been set since.
        """
        if self.record.next_check_at is None:
            return True
        ahead = (self.record.next_check_at - now).total_seconds()
        return ahead <= soon or ahead > longest

    def news(self, found: Found, before: CertificateInfo | None) -> Iterator[Line]:
        """The log lines of a check, while ``before`` was served: news as a block, repetitions at level debug."""
        record = self.record
        said = (record.outcome, found.info.fingerprint_sha256 if found.info else None)
        again = said == self._said
        self._said = said
        if record.outcome is Outcome.INSTALLED and record.served:
            yield Line("info", status.change(record, before, record.served))
        elif record.outcome is Outcome.UNCHANGED:
            yield Line("debug" if again else "info", f"{record.name}: {record.outcome}")
        else:
            yield Line("debug" if again else "warning", status.refusal(record, found.info))
        yield from self._news_of_warnings()

    def _news_of_warnings(self) -> Iterator[Line]:
        """The log line of warnings, once for each certificate, even if the time in the sentence changes."""
        warned = tuple(warning.outcome for warning in self.warnings)
        if warned and self.record.served and self._warned != (*warned, self.record.served.fingerprint_sha256):
            self._warned = (*warned, self.record.served.fingerprint_sha256)
            yield Line("warning", f"{self.record.name}: {self.record.detail}")


def plannable(
    pairs: Iterable[ManagedPair], findings: Mapping[str, Found]
) -> tuple[dict[str, Credential], dict[str, str]]:
    """What a plan needs, by identity: the credentials that checks found or that run, and why something is missing."""
    usable, reasons = {}, {}
    for pair in pairs:
        found = findings.get(pair.identity)
        if credential := found.credential if found else pair.running:
            usable[pair.identity] = credential
        if detail := found.problem.detail if found and found.problem else pair.record.detail:
            reasons[pair.identity] = detail
    return usable, reasons


def _names(spec: PairSpec) -> tuple[str, ...]:
    return spec.names or (spec.title,)


def _fitting(stored: Credential | None, spec: PairSpec) -> Credential | None:
    """The stored credential of a pair, None where it does not parse or is for other names."""
    try:
        found = stored and stored.described()
    except Refused:
        return None
    return found if found and found.fits(spec.names) else None
