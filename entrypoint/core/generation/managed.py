"""One pair as it is managed: what servers need, what is stored and live of it, and how its last check went."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from entrypoint.core import schedule, status
from entrypoint.core.generation.locked import of_the_old_key
from entrypoint.core.generation.manifest import StoredPair
from entrypoint.core.generation.news import Line
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import CertificateInfo, Key, Outcome, Problem, Refused
from entrypoint.core.status import Record
from entrypoint.core.x509.credential import Credential
from entrypoint.core.x509.decryption import opener
from entrypoint.core.x509.pem import is_encrypted


@dataclass(frozen=True)
class Found:
    """What a check found: a credential to serve, None where nothing is usable, and the problem if there is one.

    ``info`` is of a certificate that was refused, ``certmgr`` the server that was asked, ``presented`` all that was
    sent of what is to be served.
    """

    credential: Credential | None
    problem: Problem | None
    info: CertificateInfo | None = None
    certmgr: str = ""
    presented: tuple[bytes, ...] = ()
    warnings: tuple[Problem, ...] = ()


class ManagedPair:
    """A pair's spec, its credential and the record of its last check. It changes by its own methods only.

    ``credential`` is the stored one; ``live`` says that the live generation has it, ``served`` that a server presents
    it: NGINX may have refused the one that would. ``key`` is what the key file holds now, or why it is of no use.
    ``warnings`` are of the chain that was vetted last. ``unproved`` says why no handshake proves that it is served.
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
        """What the pair is known by."""
        return self.spec.identity

    @property
    def running(self) -> Credential | None:
        """The credential that the live generation has."""
        return self.credential if self.live else None

    @property
    def passwords(self) -> tuple[bytes | None, bytes | None]:
        """Those that open the key as it is now, and the stored one."""
        return self.key.password if isinstance(self.key, Key) else None, self._opened[1]

    def specify(self, spec: PairSpec) -> None:
        """Servers need something else of it: what was vetted is vetted again."""
        if spec != self.spec:
            self._vetted = ()
            self.record = replace(self.record, name=spec.title, wanted=_names(spec), next_check_at=None)
        self.spec = spec

    def doubt(self) -> None:
        """It is not proved to be served."""
        self.served = False
        self._show_served()

    def note_unproved(self, why: str) -> None:
        """Why no handshake proves that it is served; empty where one does."""
        self.unproved = why

    def current_key(self, contents: str, load: Callable[[], Key | Problem]) -> Key | Problem:
        """What the key file holds, loaded where the ``contents`` of its files are new: a derivation may be slow."""
        if self.key is None or contents != self._key_contents:
            self.key, self._key_contents = load(), contents
        return self.key

    @property
    def kept(self) -> Credential | None:
        """What goes on being served: the stored chain with our key if they fit, otherwise what runs."""
        if self.credential and isinstance(self.key, Key) and self.key.spki == self.credential.leaf.spki:
            return self.credential.with_key(self.key.pem)
        return self.running

    def knows(self, ders: tuple[bytes, ...], key: Key, now: datetime) -> bool:
        """The idle check's short cut: what was vetted before, byte for byte, within its dates, for the same key."""
        leaf = self.credential and self.credential.leaf
        return bool(leaf and ders == self._vetted and leaf.spki == key.spki and leaf.not_before <= now < leaf.not_after)

    def go_on(self, found: Found, passwords: Callable[[], Iterable[bytes]]) -> Found:
        """A finding without a credential, with the stored one; where its key stays closed, the reason and the way out.

        The start may have left it out for just that reason, and one of the ``passwords`` may open it by now.
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
        """What the live generation has of it, ``presented`` by a server or not; a check may have ``found`` it now."""
        self.live, self.served = live is not None, presented
        for known in (found and found.credential, self.credential):
            if live and known and known.ders == live.ders:
                self.credential = known.with_key(live.key_pem)
                return

    def note_check(self, found: Found, failure: Problem | None, now: datetime, interval: float, spread: float) -> None:
        """A check has ended, maybe with a ``failure`` to make live what it found. For the rest see `schedule`."""
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
        """Bring the record in line with what is live."""
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
        """Whether a check is due within ``soon`` seconds: many certificates are checked in few cycles.

        One that lies further ahead than ``longest``, the most that is ever planned, was planned by another clock.
        """
        if self.record.next_check_at is None:
            return True
        ahead = (self.record.next_check_at - now).total_seconds()
        return ahead <= soon or ahead > longest

    def news(self, found: Found, before: CertificateInfo | None) -> Iterator[Line]:
        """How a check ended, while ``before`` was served: news in a block, the same again for debugging."""
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
        """Of one certificate once, however often the clock in the sentence changes."""
        warned = tuple(warning.outcome for warning in self.warnings)
        if warned and self.record.served and self._warned != (*warned, self.record.served.fingerprint_sha256):
            self._warned = (*warned, self.record.served.fingerprint_sha256)
            yield Line("warning", f"{self.record.name}: {self.record.detail}")


def _names(spec: PairSpec) -> tuple[str, ...]:
    return spec.names or (spec.title,)


def _fitting(stored: Credential | None, spec: PairSpec) -> Credential | None:
    """What generations hold of a pair, None where that is no certificate, or for other names than now."""
    try:
        found = stored and stored.described()
    except Refused:
        return None
    return found if found and found.fits(spec.names) else None
