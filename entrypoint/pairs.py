"""The managed pairs: those of the built-in site, and those in the user's configuration."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from entrypoint.core import schedule, status
from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.generation.managed import Found, ManagedPair
from entrypoint.core.generation.pairs import PairSpec, wanted
from entrypoint.core.generation.plan import Plan, warnings
from entrypoint.core.model import Problem, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.x509.credential import FILE
from entrypoint.edges import mounts, watch
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generations
from entrypoint.edges.watch import Spot
from entrypoint.log import say

log = logging.getLogger("certfront")

_REPLACED = (
    "on the host another file has taken its place, which cannot be seen here, as this one is mounted by itself: "
    "restart the container, and mount the folder that it lies in, not the file"
)


class Pairs:
    """The `ManagedPair` of each pair. ``problem`` is the reason why the user's configuration of now is unknown."""

    def __init__(self, settings: Settings, generations: Generations, files: ConfigFiles) -> None:
        self.settings, self.generations, self.files = settings, generations, files
        self.user = files.packaged
        self.problem: Problem | None = None
        self.managed: list[ManagedPair] = []
        self.watched: tuple[Path, ...] = ()
        self.contents = ""
        self.alone: tuple[Path, ...] = ()  # of these files those that are mounted by themselves
        self.alone_of: tuple[tuple[Path, ...], UserConfig] | None = None
        self.replaced: set[Path] = set()
        self.refresh()
        if self.problem:
            self.user = self.user.stored(generations.source()) or self.user
        if not self.managed:
            self._adopt()

    def restore(self) -> None:
        """Start anew with the credentials in the generations."""
        self.managed = []
        self._adopt()

    def doubt(self) -> None:
        """Mark all pairs as not served."""
        for pair in self.managed:
            pair.doubt()

    def not_running(self, failure: Problem | None) -> str:
        """Why no part of the user's configuration runs, empty if some does; ``failure`` is that of the last attempt."""
        current = self.generations.current()
        if (current and current.manifest.source) or (self.user.packaged and not self.problem):
            return ""
        reason = failure.detail if failure else "it has not been taken up yet"
        return f"NGINX_CONF: nothing of {self.settings.nginx_conf} runs: {reason}"

    def refresh(self) -> bool:
        """Read configuration and files again, if they changed; returns whether any did."""
        return any([self._configuration_changed(), self._contents_changed()])

    def watch(self, changed: Callable[[], object], clock: Callable[[], datetime]) -> watch.Watch:
        """Call ``changed``, from another thread, after changes near these files, once nobody is writing."""
        return watch.Watch(self.spots(), changed, lambda: self.being_written(clock()))

    def spots(self) -> tuple[Spot, ...]:
        """The folders and files to watch."""
        folders = [*(path.parent for path in self.watched), *self.files.folders]
        of = self.watched, self.user
        if self.alone_of is None or any(one is not other for one, other in zip(of, self.alone_of, strict=True)):
            self.alone, self.alone_of = mounts.alone(self._files()), of
        return watch.spots(folders, self.alone)

    def unseen(self) -> tuple[tuple[str, str], ...]:
        """Warnings about mounted files that were replaced on the host, each with what to do."""
        found = mounts.replaced(self.alone)
        for path in {*found} - self.replaced:
            log.warning("%s: %s", path, _REPLACED)
        self.replaced = {*found}
        return tuple((str(path), _REPLACED) for path in found)

    def _files(self) -> list[Path]:
        return [*self.watched, *self.files.files]

    def being_written(self, now: datetime) -> bool:
        """Whether a file was modified within the last second."""
        return watch.being_written(self._files(), now.timestamp())

    def differ(self) -> bool:
        """Whether a file changed since the last `refresh`."""
        return self.files.changed() or watch.contents(self.watched) != self.contents

    def warnings(self) -> tuple[tuple[str, str], ...]:
        """Warnings about the user's own served certificates: the file, and the fault that browsers object to."""
        served = [pair for pair in self.managed if pair.served and pair.warnings and pair.record.source == FILE]
        return tuple((pair.spec.certificate_file, status.joined(pair.warnings).detail) for pair in served)

    def passwords(self) -> list[bytes]:
        """The passwords that open the keys of served pairs, and of those that may be."""
        now, stored = zip(*(pair.passwords for pair in self.managed), strict=True) if self.managed else ((), ())
        return [password for password in (*now, *stored) if password]

    def is_due(self, pair: ManagedPair, now: datetime) -> bool:
        """Whether a pair is to be checked now."""
        interval = self.settings.check_interval
        soon = schedule.together(interval) if len(self.managed) > 1 else 0
        return pair.is_due(now, soon, schedule.longest(interval))

    def note_live(self, plan: Plan, findings: Mapping[str, Found]) -> None:
        """Note that a plan is live and proved; ``findings`` are the results of the checks before it."""
        presented = {pair.identity for pair in plan.gate.running}
        for pair in self.managed:
            live, found = plan.included.get(pair.identity), findings.get(pair.identity)
            pair.note_live(live, presented=pair.identity in presented, found=found)

    def note_unproved(self, details: Mapping[str, str]) -> None:
        """Note why no handshake proves some of the pairs, by identity."""
        for pair in self.managed:
            pair.note_unproved(details.get(pair.identity, ""))

    def note_check(
        self, pair: ManagedPair, found: Found, failure: Problem | None, now: datetime, *, said: bool = False
    ) -> None:
        """Note the end of a check, and log its news; ``said``: ``failure`` concerns all, and is in the log already."""
        before, spread = pair.record.served, random.uniform(-1, 1)  # noqa: S311 - jitter, no secret
        pair.note_check(found, failure, now, self.settings.check_interval, spread)
        if not said or found.problem:
            say(pair.news(found, before))

    def _configuration_changed(self) -> bool:
        try:
            user = self.files.read()
        except Refused as error:
            news = error.problem != self.problem
            self.problem = error.problem
            return news
        news = user is not self.user or self.problem is not None
        self.user, self.problem = user, None
        if news:
            self._say()
            self._adopt()
        return news

    def _say(self) -> None:
        for fault in self.user.configuration.faults:
            log.error("%s: what needs it is commented out", fault)
        for fault in warnings(self.settings, self.user):
            log.warning("%s:%d: %s", fault.file, fault.line, fault.message)

    def _contents_changed(self) -> bool:
        contents = watch.contents(self.watched)
        changed, self.contents = contents != self.contents, contents
        return changed

    def _adopt(self) -> None:
        """Make managed pairs for the current configuration; known ones keep their state."""
        known = {pair.identity: pair for pair in self.managed}
        self.managed = [self._pair(spec, known.get(spec.identity)) for spec in wanted(self.settings, self.user)]
        files = [path for pair in self.managed for path in _files(pair.spec)]
        self.watched = tuple(dict.fromkeys((*self.settings.key_files, self.settings.key_password_file, *files)))

    def _pair(self, spec: PairSpec, known: ManagedPair | None) -> ManagedPair:
        if known:
            known.specify(spec)
            return known
        current = self.generations.current()
        entry = current.manifest.pairs.get(spec.identity) if current else None
        return ManagedPair(spec, self.generations.stored(spec.identity), entry)


def _files(spec: PairSpec) -> tuple[Path, ...]:
    found = (spec.key_file, spec.password_file, spec.certificate_file)
    return tuple(Path(path) for path in found if path)
