"""What was refused or held back rests, is left out meanwhile, and is tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.retries import Retries
from entrypoint.core.generation.variants import instead
from entrypoint.core.model import Outcome, Problem
from tests.core.generation.test_rewrite import source
from tests.support import pki, rig

CA = pki.root()
KEY = pki.ec_key(41)
OLD, NEW, NEWER = (rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEY)) for _ in range(3))
INTERVAL = 300.0
REFUSED = Problem(Outcome.CONFIG_REJECTED, "no")
FAILED = Problem(Outcome.RELOAD_FAILED, "no")


def _plan(folder: Path, text: str = "http { server { listen 80; } }") -> Plan:
    plan = rig.plan(rig.settings(folder), NEW)
    return replace(plan, user=source(text))


def test_a_pair_held_back(tmp_path: Path) -> None:
    """What ran before goes on in its place until it is tried again; another chain is tried at once."""
    retries, plan = Retries(INTERVAL), _plan(tmp_path)
    retries.live(plan, instead(plan, {"site-1": OLD}, {"site-1": "seen"}), {"site-1": "seen"}, 0)
    assert retries.held_back["site-1"] == Problem(Outcome.NOT_SERVED, "seen")
    possible = retries.possible(plan, 1)
    assert possible.usable == {"site-1": OLD}
    assert possible.reasons["site-1"] == "not-served: seen"
    assert retries.pauses(1) == [INTERVAL - 1]
    assert retries.possible(replace(plan, usable={"site-1": NEWER}), 1).usable == {"site-1": NEWER}
    assert retries.possible(plan, INTERVAL) is plan
    assert retries.held_back == {}
    retries.forget()
    assert retries.pauses(1) == []


def test_a_pair_held_back_with_nothing_before(tmp_path: Path) -> None:
    """Its servers wait, with the reason."""
    retries, plan = Retries(INTERVAL), _plan(tmp_path)
    retries.live(plan, instead(plan, {"site-1": None}, {"site-1": "seen"}), {"site-1": "seen"}, 0)
    assert retries.possible(plan, 1).usable == {}
    assert retries.possible(plan, 1).gate.commented_out["site-1"] == "not-served: seen"


def test_refused_parts(tmp_path: Path) -> None:
    """They are left out for two seconds; then they are tried again, but for ciphers, which NGINX will not learn."""
    retries, plan = Retries(INTERVAL), _plan(tmp_path)
    refusals = Refusals(servers={("/etc/nginx/nginx.conf", 7): "no"}, settings={("/x", 1): "unknown"})
    retries.live(plan, replace(plan, refusals=refusals), {}, 0)
    assert retries.possible(plan, 1).refusals == refusals
    assert retries.pauses(1) == [1]
    assert retries.possible(plan, 2).refusals == Refusals(settings=refusals.settings)
    edited = replace(plan, user=source("http { server { listen 81; } }"))
    assert retries.possible(edited, 1) is edited
    retries.forget()
    assert retries.possible(plan, 1) is plan


def test_refused_as_a_whole(tmp_path: Path) -> None:
    """The same plan rests; one with another pair does not, unless a reload failed and the user's change is to blame."""
    plan, last = _plan(tmp_path), _plan(tmp_path, "")
    renewed = replace(plan, usable={"site-1": NEWER})
    for problem, of_the_change in (REFUSED, None), (FAILED, FAILED):
        retries = Retries(INTERVAL)
        assert retries.refusal(plan, last, 0) is None
        retries.refused(plan, last, problem, 0)
        assert retries.refusal(plan, last, 1) is problem
        assert retries.refusal(plan, None, 1) is problem
        assert retries.refusal(renewed, last, 1) is of_the_change
        assert retries.refusal(renewed, None, 1) is None
        assert retries.refusal(plan, last, INTERVAL) is None
        retries.forget()
        assert retries.refusal(plan, last, 1) is None


def test_the_fallback_refused(tmp_path: Path) -> None:
    """It rests on its own, whatever becomes of the plan."""
    retries, last = Retries(INTERVAL), _plan(tmp_path, "")
    retries.fallbacks.add(last.digest, REFUSED, 0)
    assert retries.fallbacks.still(last.digest, 1) is REFUSED
    assert retries.refusal(last, None, 1) is None
    assert retries.fallbacks.still(last.digest, INTERVAL) is None


def test_digest(tmp_path: Path) -> None:
    """It is the plan's, whatever was asked before."""
    retries, plan = Retries(INTERVAL), _plan(tmp_path)
    others = (
        plan,
        replace(plan, usable={}),
        replace(plan, user=rig.plan(plan.settings).user),
        replace(plan, refusals=Refusals(files={"/x": "no"})),
    )
    for each in (*others, *others):
        assert retries.digest(each) == each.digest
