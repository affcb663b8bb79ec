"""How a cycle ended, for each pair and in one sentence."""

from __future__ import annotations

import pytest

from entrypoint.core.generation.ending import Ending
from entrypoint.core.model import Outcome, Problem

REJECTED = Problem(Outcome.CONFIG_REJECTED, "no")
GATED = Problem(Outcome.CONFIG_REJECTED, "its server is gated")


@pytest.mark.parametrize(
    ("failure", "goes_on", "served", "found"),
    [
        (None, True, True, GATED),
        (None, True, False, GATED),
        (REJECTED, True, True, GATED),
        (REJECTED, True, False, REJECTED),
        (REJECTED, False, True, REJECTED),
    ],
)
def test_a_pair(failure: Problem | None, goes_on: bool, served: bool, found: Problem) -> None:
    """A refusal of the whole is a pair's own, unless that is served on with what ran last."""
    ending = Ending(failure, goes_on, {"gated": GATED})
    assert ending.problem_of("gated", served=served) is found
    assert ending.is_of_all(ending.problem_of("gated", served=served)) is (found is REJECTED)
    assert ending.problem_of("other", served=served) is (REJECTED if found is REJECTED else None)


def test_of_all() -> None:
    """What NGINX did not switch to is refused as a whole; it is said of each pair as well."""
    failed = Problem(Outcome.RELOAD_FAILED, "no")
    assert Ending(failed).rejected is failed
    assert not Ending(failed).is_of_all(failed)
    assert Ending(Problem(Outcome.WRONG_PASSWORD, "no")).rejected is None


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (Ending(generation=7), "3 pairs checked; generation 7 runs on"),
        (Ending(generation=8, spent=31.4), "3 pairs checked; generation 8 is live, proved within 31 ms"),
        (
            Ending(REJECTED, True, {"a": GATED}, 7),
            "3 pairs checked; generation 7 runs on, 1 pairs gated; the whole plan is not live: config-rejected: no",
        ),
    ],
)
def test_sentence(ending: Ending, sentence: str) -> None:
    """It says what was checked, what runs, and why not all of it."""
    assert ending.sentence(3) == sentence
