"""The pairs that are looked after: those of the built-in site, and those that the user's configuration names now."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from entrypoint import editions
from entrypoint.check import Found, ManagedPair, restore, show_served
from entrypoint.core import schedule, status
from entrypoint.core.conf.configuration import Source
from entrypoint.core.generation.pairs import PairSpec, wanted
from entrypoint.core.generation.plan import Plan, warnings
from entrypoint.core.model import CertificateInfo, Key, Outcome, Problem, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.status import Record
from entrypoint.edges import mounts, watch
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generations
from entrypoint.edges.watch import Spot

log = logging.getLogger("certfront")

_REPLACED = (
    "on the host another file has taken its place, which cannot be seen here, as this one is mounted by itself: "
    "restart the container, and mount the folder that it lies in, not the file"
)


class Pairs:
    """One `ManagedPair` a pair. ``problem`` says why the user's configuration is not known as it is now."""

    def __init__(self, settings: Settings, generations: Generations, user: ConfigFiles) -> None:
        self.settings, self.generations, self.user = settings, generations, user
        self.source: Source | None = None
        self.problem: Problem | None = None
        self.slots: list[ManagedPair] = []
        self.watched: tuple[Path, ...] = ()
        self.contents = ""
        self.alone: tuple[Path, ...] = ()  # of these files those that are mounted by themselves
        self.alone_of: tuple[tuple[Path, ...], Source | None] | None = None
        self.replaced: set[Path] = set()
        self.refresh()
        if self.problem:
            self.source = editions.last(generations, None)
        if not self.slots:
            self._adopt()

    def restore(self) -> None:
        """Forget all, and begin with what the generations hold."""
        self.slots = []
        self._adopt()

    def doubt(self) -> None:
        """Nothing is proved to be served."""
        for slot in self.slots:
            slot.served = False
            show_served(slot)

    def not_running(self, failure: Problem | None) -> str:
        """Why nothing of the user's configuration runs, where that is so; ``failure`` is what came of the last try."""
        current = self.generations.current()
        if (current and current.manifest.source) or not (self.source or self.problem):
            return ""
        reason = failure.detail if failure else "it has not been taken up yet"
        return f"NGINX_CONF: nothing of {self.settings.nginx_conf} runs: {reason}"

    def refresh(self) -> bool:
        """Read the user's configuration again if it changed, and the files' contents; whether anything did."""
        return any([self._configuration_changed(), self._contents_changed()])

    def watch(self, changed: Callable[[], object], clock: Callable[[], datetime]) -> watch.Watch:
        """Call ``changed``, from another thread, when something happened near these files and all is quiet."""
        return watch.Watch(self.spots(), changed, lambda: self.being_written(clock()))

    def spots(self) -> tuple[Spot, ...]:
        """Where something may change."""
        folders = [*(path.parent for path in self.watched), *self.user.folders]
        of = self.watched, self.source
        if self.alone_of is None or any(one is not other for one, other in zip(of, self.alone_of, strict=True)):
            self.alone, self.alone_of = mounts.alone(self._files()), of
        return watch.spots(folders, self.alone)

    def unseen(self) -> tuple[tuple[str, str], ...]:
        """Files that the host replaced, where that cannot be seen here: each with what to do."""
        found = mounts.replaced(self.alone)
        for path in {*found} - self.replaced:
            log.warning("%s: %s", path, _REPLACED)
        self.replaced = {*found}
        return tuple((str(path), _REPLACED) for path in found)

    def _files(self) -> list[Path]:
        return [*self.watched, *self.user.files]

    def being_written(self, now: datetime) -> bool:
        """Whether a file is likely to change again at once."""
        return watch.being_written(self._files(), now.timestamp())

    def differ(self) -> bool:
        """Whether anything changed since the last `refresh`."""
        return self.user.changed() or watch.contents(self.watched) != self.contents

    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What browsers will object to in the user's own certificates that are served: the file, and why."""
        served = [slot for slot in self.slots if slot.served and slot.warnings and slot.record.source == "file"]
        return tuple((slot.wanted.certificate_file, status.joined(slot.warnings).detail) for slot in served)

    def _configuration_changed(self) -> bool:
        try:
            source = self.user.read()
        except Refused as error:
            news = error.problem != self.problem
            self.problem = error.problem
            return news
        news = source is not self.source or self.problem is not None
        self.source, self.problem = source, None
        if news:
            self._say()
            self._adopt()
        return news

    def _say(self) -> None:
        for fault in self.source.configuration.faults if self.source else ():
            log.error("%s: what needs it is commented out", fault)
        for fault in warnings(self.settings, self.source) if self.source else ():
            log.warning("%s:%d: %s", fault.file, fault.line, fault.message)

    def _contents_changed(self) -> bool:
        contents = watch.contents(self.watched)
        changed, self.contents = contents != self.contents, contents
        return changed

    def _adopt(self) -> None:
        """Slots for what is wanted now; what is known of a pair stays known."""
        known = {slot.identity: slot for slot in self.slots}
        self.slots = [self._slot(pair, known.get(pair.identity)) for pair in wanted(self.settings, self.source)]
        files = [path for slot in self.slots for path in _files(slot.wanted)]
        self.watched = tuple(dict.fromkeys((*self.settings.key_files, self.settings.key_password_file, *files)))

    def _slot(self, pair: PairSpec, known: ManagedPair | None) -> ManagedPair:
        names = pair.names or (pair.title,)
        if known is None:
            return self._restored(ManagedPair(pair, Record(pair.title, names)))
        if known.wanted != pair:  # to be vetted again
            known.presented = ()
            known.record = replace(known.record, name=pair.title, wanted=names, next_check_at=None)
        known.wanted = pair
        return known

    def _restored(self, slot: ManagedPair) -> ManagedPair:
        restore(slot, self.generations.stored(slot.identity))
        current = self.generations.current()
        entry = current.manifest.pairs.get(slot.identity) if current else None
        slot.live = bool(slot.credential and entry)
        slot.served = bool(slot.live and entry and entry.presented)
        show_served(slot)
        return slot


def _files(pair: PairSpec) -> tuple[Path, ...]:
    found = (pair.key_file, pair.password_file, pair.certificate_file)
    return tuple(Path(path) for path in found if path)


def due(slot: ManagedPair, now: datetime, soon: float, longest: float) -> bool:
    """Whether a check is due within ``soon`` seconds: many certificates are checked in few cycles.

    One that lies further ahead than ``longest``, the most that is ever planned, was planned by another clock.
    """
    if slot.record.next_check_at is None:
        return True
    ahead = (slot.record.next_check_at - now).total_seconds()
    return ahead <= soon or ahead > longest


def remember(slots: Iterable[ManagedPair], plan: Plan, looks: Mapping[str, Found]) -> None:
    """Note that a plan is live, and proved as far as it can be."""
    presented = {pair.identity for pair in plan.gate.running}
    for slot in slots:
        live, found = plan.included.get(slot.identity), looks.get(slot.identity)
        slot.live = live is not None
        slot.served = slot.identity in presented
        for known in (found and found.credential, slot.credential):
            if live and known and known.ders == live.ders:
                slot.credential = known.with_key(live.key_pem)
                break


def record(
    slot: ManagedPair, found: Found, failure: Problem | None, now: datetime, interval: float, *, said: bool = False
) -> None:
    """Note how the check of one pair ended, and say it unless it was said before. ``interval`` in seconds.

    ``said``: the failure is one of all, and in the log already.
    """
    before = slot.record.served
    if not found.problem and not failure:
        slot.presented = slot.ders if slot.ders == found.presented else found.presented  # kept once
        slot.warnings = found.warnings
    show_served(slot)
    good = Outcome.UNCHANGED if before == slot.record.served else Outcome.INSTALLED
    if not found.problem and slot.served and found.credential and found.credential.ders == slot.ders:
        failure = None
    remarks = (*slot.warnings, *([Problem(good, slot.unproved)] if slot.unproved else []))
    checked = status.checked(slot.record, found.problem or failure, good, now, remarks)
    delay = schedule.next_check(
        interval=interval,
        failures=checked.failures,
        pending=slot.record.served is None,
        spread=random.uniform(-1, 1),  # noqa: S311 - jitter, no secret
    )
    slot.record = replace(
        checked,
        key_type=slot.key.key_type if isinstance(slot.key, Key) else checked.key_type,
        certmgr=found.certmgr or checked.certmgr,
        next_check_at=now + timedelta(seconds=delay),
    )
    if not said or found.problem:
        _say(slot, found, before)


def _say(slot: ManagedPair, found: Found, before: CertificateInfo | None) -> None:
    """Log how a look ended: news in a block, the same again for debugging only."""
    record = slot.record
    said = (record.outcome, found.info.fingerprint_sha256 if found.info else None)
    news = said != slot.said
    slot.said = said
    if record.outcome is Outcome.INSTALLED and record.served:
        log.info("%s", status.change(record, before, record.served))
    elif record.outcome is Outcome.UNCHANGED:
        log.log(logging.INFO if news else logging.DEBUG, "%s: %s", record.name, record.outcome)
    else:
        log.log(logging.WARNING if news else logging.DEBUG, "%s", status.refusal(record, found.info))
    _warn(slot)


def _warn(slot: ManagedPair) -> None:
    """Of one certificate once, however often the clock in the sentence changes."""
    record = slot.record
    warned = tuple(warning.outcome for warning in slot.warnings)
    if warned and record.served and slot.warned != (*warned, record.served.fingerprint_sha256):
        slot.warned = (*warned, record.served.fingerprint_sha256)
        log.warning("%s: %s", record.name, record.detail)
