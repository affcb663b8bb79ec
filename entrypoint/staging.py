"""A generation that NGINX accepts: the whole plan, or the plan without the parts that NGINX refuses."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from entrypoint.core.generation import blame, search, variants
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.edges import key_files, nginx
from entrypoint.edges.generations import Generation, Generations

log = logging.getLogger("certfront")

Provide = Callable[[Plan], None]


@dataclass
class Stager:
    """The stager of one state folder. ``provide`` writes the files that open a plan's keys.

    ``taken`` returns NGINX's future error about a plan's sockets. ``patience``: seconds for single tests of parts;
    after that, parts like a refused one are gated with it. ``longest``: seconds until the search is given up.
    """

    program: str
    generations: Generations
    patience: float = 12.0
    longest: float = 120.0
    complaints: frozenset[str] = frozenset()
    taken: Callable[[Plan], str] = lambda _: ""

    def accepted(
        self, plan: Plan, why: str, provide: Provide, live: Generation | None = None
    ) -> tuple[Plan, Generation]:
        """The plan, as far as NGINX accepts it, and its generation, not yet published.

        ``live`` is the running generation: it is returned if it is the accepted part. Raises `Refused` where NGINX
        refuses something that is not the user's, and OSError where the disk does.
        """
        began, complaints = time.monotonic(), set[str]()
        while True:
            same = plan.refusals and live and live.manifest.digest == plan.digest
            try:
                generation = live if live and same else self._staged(plan, why, provide, sync=not complaints)
                break
            except blame.Rejected as error:
                tried = functools.partial(self._tried, why=why, provide=provide)
                narrower = _without_locked(plan, error) or self._narrower(plan, error, began, tried)
                complaints |= self._said(plan, narrower)
                plan = narrower
        if complaints and generation is not live:
            self.generations.sync(generation)
        self.complaints = frozenset(complaints)
        return replace(plan, remarks=self.generations.remarks(generation)), generation

    def _narrower(self, plan: Plan, error: blame.Rejected, began: float, tried: search.Try) -> Plan:
        """The plan without the parts that NGINX names or a search finds, or, after a while, similar ones."""
        now = time.monotonic()
        if now > began + self.longest:
            raise blame.endless(now - began) from None
        narrower = blame.narrowed(plan, error.generation, error.problem.detail)
        if not narrower:
            narrower = search.searched(plan, error, tried, lambda: time.monotonic() < began + self.longest)
        elif now > began + self.patience:
            narrower = search.with_kindred(narrower, plan, error)
        if not narrower:
            raise blame.told(plan, error) from None
        return narrower

    def _tried(self, plan: Plan, why: str, provide: Provide) -> blame.Rejected | None:
        """NGINX's refusal of a plan, None if it accepts; the staged files are removed."""
        try:
            self.generations.discard(self._staged(plan, why, provide, sync=False))
        except blame.Rejected as error:
            return error
        return None

    def _said(self, plan: Plan, narrower: Plan) -> frozenset[str]:
        """The complaints about what a narrower plan lacks: a warning once, repetitions at level debug."""
        complaints = tuple(blame.complaints(plan, narrower))
        for complaint in complaints:
            level = logging.DEBUG if complaint in self.complaints else logging.WARNING
            log.log(level, "%s", complaint)
        return frozenset(complaints)

    def _staged(self, plan: Plan, why: str, provide: Provide, *, sync: bool) -> Generation:
        """A staged generation that NGINX accepts; without ``sync``, it is synced to disk later."""
        provide(plan)
        number = self.generations.next_number()
        # The last pairs come along: an NGINX that starts while the link moves may read half of each configuration.
        carried = self.generations.pair_files()
        generation = self.generations.stage(number, plan.files(number), plan.manifest(number, why), carried, sync=sync)
        try:
            warnings = nginx.test(self.program, generation.config, plan.settings.run_dir)
            if taken := self.taken(plan):
                raise Refused(Outcome.CONFIG_REJECTED, taken)
        except Refused as error:
            self.refuse(generation, blame.translated(plan, generation.path, str(error)))
            if isinstance(error, nginx.Untested):
                raise
            raise blame.Rejected(error.problem, generation.path) from None
        self.generations.remark(generation, blame.remarks(plan, generation.path, warnings))
        return generation

    def refuse(self, generation: Generation, reason: str) -> None:
        """Mark a generation as refused."""
        try:
            self.generations.refuse(generation, reason)
        except OSError as error:
            log.error("generation %d could not be marked as refused: %s", generation.number, error)


def _without_locked(plan: Plan, refusal: Exception) -> Plan | None:
    """The plan without the pairs whose keys no password opens, which are logged; None for other refusals."""
    if not blame.is_about_a_key(refusal):
        return None
    smaller, problems = variants.without_locked(plan, key_files.found(plan), _key_now)
    for pair, problem in problems.items():
        log.error("%s: %s: %s\n  hint: %s", pair.title, problem.outcome, problem.detail, problem.hint)
    return smaller if smaller.usable != plan.usable else None


def _key_now(pair: PairSpec) -> Key | Problem:
    from entrypoint.edges import keys

    return keys.found(Path(pair.key_file), Path(pair.password_file))
