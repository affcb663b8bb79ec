"""A generation that NGINX accepts: of the whole plan, or without those of the user's servers and files it refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from entrypoint import isolate
from entrypoint.core.model import Refused
from entrypoint.core.plan import Plan
from entrypoint.edges import nginx
from entrypoint.edges.generations import Generation, Generations

log = logging.getLogger("certfront")

Provide = Callable[[Plan], None]


@dataclass
class Stager:
    """Stages the generations of one state folder. ``provide`` puts in place what NGINX needs to open a plan's keys."""

    program: str
    generations: Generations
    complaints: frozenset[str] = frozenset()

    def accepted(
        self, plan: Plan, why: str, provide: Provide, live: Generation | None = None
    ) -> tuple[Plan, Generation]:
        """The plan, as far as NGINX accepts it, and its generation, not yet published.

        ``live`` is what NGINX runs: where that is as much of the plan as it accepts, it comes back. Raises `Refused`
        where NGINX refuses what is not a part of the user's, and OSError where the disk does.
        """
        complaints: set[str] = set()
        for _ in range(isolate.MOST_REFUSALS):
            if plan.gates and live and live.manifest.get("digest") == plan.digest:
                generation = live
                break
            try:
                generation = self._staged(plan, why, provide)
                break
            except isolate.Rejected as error:
                narrower, complaint = isolate.without(plan, error), f"NGINX refuses a part: {isolate.told(plan, error)}"
                if left_out := narrower.gates.settings.items() - plan.gates.settings.items():
                    complaint = next(why for _, why in left_out)
                self._say(complaint)
                complaints.add(complaint)
                plan = narrower
        else:
            raise isolate.too_many()
        self.complaints = frozenset(complaints)
        return replace(plan, remarks=self.generations.remarks(generation)), generation

    def _say(self, complaint: str) -> None:
        """Loudly once: the same is tried again and again until it is mended."""
        level = logging.DEBUG if complaint in self.complaints else logging.WARNING
        log.log(level, "%s", complaint)

    def _staged(self, plan: Plan, why: str, provide: Provide) -> Generation:
        provide(plan)
        number = self.generations.next_number()
        # The last pairs come along: an NGINX that starts while the link moves may read half of each configuration.
        carried = self.generations.pair_files()
        generation = self.generations.stage(number, plan.files(number), plan.manifest(number, why), carried)
        try:
            warnings = nginx.test(self.program, generation.config, plan.settings.run_dir)
        except Refused as error:
            self.refuse(generation, isolate.translated(plan, generation.path, str(error)))
            raise isolate.Rejected(error.problem, generation.path) from None
        self.generations.remark(generation, isolate.remarks(plan, generation.path, warnings))
        return generation

    def refuse(self, generation: Generation, reason: str) -> None:
        """Mark a generation as one that does not run."""
        try:
            self.generations.refuse(generation, reason)
        except OSError as error:
            log.error("generation %d could not be marked as refused: %s", generation.number, error)
