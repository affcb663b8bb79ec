"""The ladder of a start: which attempts there are, in which order, and what the smaller ones do without."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.generation import variants
from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.variants import Rung
from entrypoint.core.model import Outcome, Refused
from tests.support import pki, rig

SMALLER = (Rung.WITHOUT_TLS, Rung.WITHOUT_NGINX_CONF)


@pytest.mark.parametrize(
    ("same", "hindered", "first", "users", "expected"),
    [
        (False, False, True, False, "WHOLE PROVED WITHOUT_TLS"),
        (False, False, True, True, "WHOLE PROVED WITHOUT_TLS WITHOUT_NGINX_CONF"),
        (False, False, False, True, "WHOLE PROVED WITHOUT_TLS"),
        (True, False, False, True, "AS_IT_RAN WHOLE PROVED WITHOUT_TLS"),
        (True, True, False, True, "AS_IT_RAN PROVED"),
        (False, True, False, False, "PROVED"),
    ],
)
def test_rungs(same: bool, hindered: bool, first: bool, users: bool, expected: str) -> None:
    """What ran goes before what is new; what was proved before what does without TLS, and that before a bare start."""
    found = variants.rungs(same=same, hindered=hindered, first=first, users=users)
    assert [rung.name for rung in found] == expected.split()


def test_what_was_proved_is_always_tried() -> None:
    """Once, and before all that does without a part; nothing new is made where that is hindered."""
    for same, hindered, first, users in itertools.product([False, True], repeat=4):
        found = variants.rungs(same=same, hindered=hindered, first=first, users=users)
        behind = found[found.index(Rung.PROVED) + 1 :]
        assert len(set(found)) == len(found)
        assert set(behind) == set(found) & set(SMALLER)
        assert not (hindered and {Rung.WHOLE, *behind} & set(found))


def test_smaller_plans(tmp_path: Path) -> None:
    """Without TLS no pair is left, each has the reason; without NGINX_CONF they stay; a whole plan is as it is."""
    plan = rig.plan(rig.settings(tmp_path), rig.usable(pki.issue(rig.NAME, pki.root(), names=[rig.NAME])))
    bare = variants.smaller(plan, Rung.WITHOUT_TLS, "no such file")
    assert (bare.usable, bare.reasons) == ({}, {"site-1": "no such file"})
    assert variants.smaller(plan, Rung.WITHOUT_NGINX_CONF, "no such file").usable == plan.usable
    assert variants.smaller(plan, Rung.WHOLE, "no such file") is plan


def test_as_it_runs(tmp_path: Path) -> None:
    """A generation is of the plan of now where the digests are equal, whatever else its manifest lacks or holds."""
    plan = rig.plan(rig.settings(tmp_path), rig.usable(pki.issue(rig.NAME, pki.root(), names=[rig.NAME])))
    assert variants.as_it_runs(plan, plan.manifest(7, "test")) == plan
    assert variants.as_it_runs(plan, Manifest(digest=plan.digest)) == plan
    assert variants.as_it_runs(plan, replace(plan.manifest(7, "test"), digest="other")) is None
    assert variants.as_it_runs(plan, Manifest()) is None


def test_what_people_are_told() -> None:
    """A refusal is told as it is; what the disk says with the variable that names the folder."""
    refused, full = Refused(Outcome.CONFIG_REJECTED, "no", "mend it"), OSError(28, "No space left on device")
    assert variants.as_problem(refused) is refused.problem
    assert variants.as_problem(full).outcome is Outcome.RELOAD_FAILED
    assert variants.unusable(refused) is refused
    assert variants.unusable(full).problem.detail == "CERTFRONT_STATE_DIR: [Errno 28] No space left on device"
