"""Pairs whose keys no password opens any more: what goes on without them, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.core.generation.blame import is_about_a_key
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.variants import without_locked
from entrypoint.core.model import Key, Outcome, Problem, Refused
from tests.support import pki, rig

OLD, NEW = b"old secret", b"new secret"
RSA = pki.issue(rig.NAME, None, names=[rig.NAME], key=pki.rsa_key(41))
EC = pki.issue(rig.NAME, None, names=[rig.NAME], key=pki.ec_key(41))
GONE = Problem(Outcome.KEY_MISSING, "there is no key file")


def _never(pair: PairSpec) -> Key:
    raise AssertionError(pair)


def test_opened(tmp_path: Path) -> None:
    """A key that some password opens, and one that needs none, stay as they are: their files are not even read."""
    chosen = rig.settings(tmp_path, KEY_FILE="/keys/rsa.pem,/keys/ec.pem")
    plan = rig.plan(chosen, rig.usable(RSA, key_pem=pki.key_pem(RSA.key, OLD)), rig.usable(EC))
    assert without_locked(plan, [b"other", OLD], _never) == (plan, {})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (GONE, GONE.detail),
        (pki.key_of(EC.key), "belongs to the key that /keys/rsa.pem held before"),
    ],
)
def test_closed(now: Key | Problem, said: str, tmp_path: Path) -> None:
    """A pair whose key stays closed goes, with what is wrong with its file or the way out; the other one stays."""
    chosen = rig.settings(tmp_path, KEY_FILE="/keys/rsa.pem,/keys/ec.pem")
    plan = rig.plan(chosen, rig.usable(RSA, key_pem=pki.key_pem(RSA.key, OLD)), rig.usable(EC))
    smaller, problems = without_locked(plan, [NEW], lambda _: now)
    assert smaller.usable == {"site-2": plan.usable["site-2"]}
    assert said in smaller.reasons["site-1"]
    (pair,) = problems
    assert (pair.identity, problems[pair].detail) == ("site-1", smaller.reasons["site-1"])


def test_encrypted_anew(tmp_path: Path) -> None:
    """The same key with another password takes the place of the stored one."""
    plan = rig.plan(rig.settings(tmp_path), rig.usable(RSA, key_pem=pki.key_pem(RSA.key, OLD)))
    now = pki.key_of(RSA.key, pki.key_pem(RSA.key, NEW), NEW)
    smaller, problems = without_locked(plan, [NEW], lambda _: now)
    assert smaller.usable["site-1"].key_pem == now.pem
    assert smaller.usable["site-1"].chain_pem == plan.usable["site-1"].chain_pem
    assert not problems


def test_what_nginx_says_of_a_key() -> None:
    """Its words for a key that it cannot load are known among all others."""
    assert is_about_a_key(Refused(Outcome.CONFIG_REJECTED, 'cannot load certificate key "/k.pem": PEM_read_bio failed'))
    assert not is_about_a_key(Refused(Outcome.CONFIG_REJECTED, 'cannot load certificate "/c.pem"'))
