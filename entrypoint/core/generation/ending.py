"""The ending of a cycle: why its plan is not wholly live, the pairs concerned, and the outcome as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from entrypoint.core.model import Outcome, Problem

_OF_ALL = (Outcome.CONFIG_REJECTED, Outcome.RELOAD_FAILED, Outcome.NOT_SERVED)


@dataclass(frozen=True)
class Ending:
    """The result of one plan.

    ``failure`` is the reason why the whole plan is not live; ``goes_on``: the last configuration is, with the
    credentials of now. ``gated`` are the pairs that no server presents, by identity. ``generation`` is the live one,
    ``spent`` the milliseconds from its reload to its proof, None where NGINX was not reloaded.
    """

    failure: Problem | None = None
    goes_on: bool = True
    gated: Mapping[str, Problem] = field(default_factory=dict)
    generation: int = 0
    spent: float | None = None

    @property
    def rejected(self) -> Problem | None:
        """Why the configuration is refused as a whole."""
        return self.failure if self.failure and self.failure.outcome in _OF_ALL else None

    def problem_of(self, identity: str, *, served: bool) -> Problem | None:
        """Why a pair is not live as it should be; ``served``: whether a server presents it."""
        alone = not self.failure or (self.goes_on and served)
        return self.gated.get(identity) if alone else self.failure

    def is_of_all(self, problem: Problem | None) -> bool:
        """Whether a problem is the refusal of the whole configuration, which is logged once and not for each pair."""
        return problem is not None and problem is self.rejected and problem.outcome is Outcome.CONFIG_REJECTED

    def sentence(self, checked: int) -> str:
        """The outcome in one line; ``checked`` is the number of checked pairs."""
        runs = f"generation {self.generation} {'runs on' if self.spent is None else 'is live'}"
        runs += "" if self.spent is None else f", proved within {self.spent:.0f} ms"
        refused = f"; the whole plan is not live: {self.failure.outcome}: {self.failure.detail}" if self.failure else ""
        gated = f", {len(self.gated)} pairs gated" if self.gated else ""
        return f"{checked} pairs checked; {runs}{gated}{refused}"
