"""Plans that are made from another one: a pair instead of another, one change alone, certfront's own server alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.variants import changes, held_back, instead, made_bare, on_single_addresses, one_change
from entrypoint.core.x509.credential import Credential
from tests.core.generation.test_rewrite import source
from tests.support import pki, rig

CA = pki.root()
KEYS = pki.rsa_key(41), pki.ec_key(41)
OLD, NEW = (tuple(rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=key)) for key in KEYS) for _ in range(2))
TWO_KEYS = {"KEY_FILE": "/keys/rsa.pem,/keys/ec.pem"}


def _plan(folder: Path, *pairs: Credential) -> Plan:
    return rig.plan(rig.settings(folder, **TWO_KEYS), *pairs)


def _running(*pairs: Credential | None) -> dict[str, Credential | None]:
    return dict(zip(("site-1", "site-2"), pairs, strict=True))


def test_changes(tmp_path: Path) -> None:
    """Several pairs that changed can be tried one by one; one alone is the whole plan, and one that went is none."""
    both = _plan(tmp_path, *NEW)
    assert changes(both, _running(*OLD)) == ("site-1", "site-2")
    assert changes(both, _running(None, None)) == ("site-1", "site-2")
    assert changes(both, _running(OLD[0], NEW[1])) == ()
    assert changes(both, _running(*NEW)) == ()
    assert changes(_plan(tmp_path, NEW[0]), _running(*OLD)) == ("site-1",)


def test_one_change(tmp_path: Path) -> None:
    """One pair is the plan's, the others are what runs, and what does not run is left out."""
    both = _plan(tmp_path, *NEW)
    assert one_change(both, "site-2", _running(*OLD)).usable == {"site-1": OLD[0], "site-2": NEW[1]}
    assert one_change(both, "site-2", _running(None, None)).usable == {"site-2": NEW[1]}


def test_instead(tmp_path: Path) -> None:
    """A pair that failed gives way to the other one, or to none, with the reason."""
    both = _plan(tmp_path, *NEW)
    found = instead(both, {"site-1": OLD[0], "site-2": None}, {"site-1": "seen", "site-2": "nothing seen"})
    assert found.usable == {"site-1": OLD[0]}
    assert found.reasons == {"site-1": "not-served: seen", "site-2": "not-served: nothing seen"}


def test_held_back(tmp_path: Path) -> None:
    """What was presented before goes on, or nothing; where that is the pair that failed, something else is to blame."""
    both = _plan(tmp_path, *NEW)
    for before, usable in (
        ({"site-1": OLD[0]}, {"site-1": OLD[0], "site-2": NEW[1]}),
        ({"site-1": None}, {"site-2": NEW[1]}),
    ):
        found = held_back(both, {"site-1": "seen"}, before)
        assert found
        assert found.usable == usable
        assert found.reasons == {"site-1": "not-served: seen"}
    assert held_back(both, {"site-1": "seen"}, {"site-1": NEW[0]}) is None
    assert held_back(both, {}, {}) is None


@pytest.mark.parametrize(
    ("listen", "single"),
    [
        ("18080", False),
        ("0.0.0.0:18080", False),
        ("127.0.0.1:18080", True),
        ("[::1]:18443 ssl", True),
        ("::1:9", False),
    ],
)
def test_bare(tmp_path: Path, listen: str, single: bool) -> None:
    """A server on one address of a port of the built-in site asks for a moment without that site, which has nothing."""
    plan = _plan(tmp_path, *NEW)
    plan = replace(plan, user=source(f"http {{ server {{ listen {listen}; }} }}"))
    assert on_single_addresses(plan) is single
    bare = made_bare(plan)
    assert (bare.included, bare.user.packaged, bare.texts(1)["site.conf"]) == ({}, True, "")
