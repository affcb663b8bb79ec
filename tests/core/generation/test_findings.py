"""What a check finds, of CertMgr's answer and of the user's own file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import Certificate

from entrypoint.core.generation import findings
from entrypoint.core.generation.managed import Found, ManagedPair
from entrypoint.core.generation.manifest import StoredPair
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.x509 import credential
from tests.support import pki, rig

CA = pki.root()
ISSUED = pki.issue("www.acme.io", CA, names=["www.acme.io"], key=pki.ec_key(1))
DERS = (ISSUED.der, CA.der)
KEY = pki.key_of(ISSUED.key)
SPEC = PairSpec("pair", "www.acme.io", ("www.acme.io",), "www.acme.io", "/a.key", "/pw.txt", "/a.crt")
FIRST = "one.acme.com:443"


def _pair(running: bool = True) -> ManagedPair:
    pair = ManagedPair(SPEC, rig.usable(ISSUED), StoredPair("c", "k")) if running else ManagedPair(SPEC)
    pair.current_key("", lambda: KEY)
    return pair


def _no_roots() -> None:
    return None


def _never() -> Sequence[Certificate]:
    raise AssertionError("the roots are loaded for what is known")


def _answer(pair: ManagedPair, *ders: bytes, key: Key = KEY, force: bool = False) -> Found:
    return findings.of_answer(pair, key, ders, certmgr=FIRST, roots=_no_roots, now=pki.NOW, force=force)


def test_a_first_answer() -> None:
    """A chain that may be served comes with its key, and with where and when it came from."""
    found = _answer(_pair(running=False), *DERS)
    assert found.problem is None
    assert found.credential is not None
    assert (found.credential.ders, found.credential.key_pem) == (DERS[:1], KEY.pem)
    assert (found.credential.source, found.credential.certmgr) == ("certmgr", FIRST)
    assert found.credential.installed_at == pki.NOW
    assert (found.presented, found.certmgr) == (DERS, FIRST)


def test_a_known_answer() -> None:
    """What was vetted before is not vetted again: no root is loaded, and the object is the same."""
    pair = _pair()
    pair.note_check(_answer(pair, *DERS), None, pki.NOW, 300, 0)
    for _ in range(2):
        found = findings.of_answer(pair, KEY, DERS, certmgr=FIRST, roots=_never, now=pki.NOW, force=False)
        assert found.credential is pair.credential
    assert not found.problem


def test_an_older_answer() -> None:
    """It is refused, unless it is forced."""
    older = pki.issue("www.acme.io", CA, names=["www.acme.io"], key=ISSUED.key, not_before=pki.NOW - timedelta(days=9))
    refused = _answer(_pair(), older.der, CA.der)
    assert refused.credential is None
    assert refused.problem
    assert refused.problem.outcome is Outcome.NOT_NEWER
    assert refused.info
    assert _answer(_pair(), older.der, CA.der, force=True).problem is None


def test_roots_that_cannot_be_loaded() -> None:
    """Why passes on to whoever asks."""

    def fails() -> Sequence[Certificate]:
        raise Refused(Outcome.UNTRUSTED, "no roots")

    with pytest.raises(Refused, match="no roots"):
        findings.of_answer(_pair(), KEY, DERS, certmgr=FIRST, roots=fails, now=pki.NOW, force=False)


def test_the_user_s_file() -> None:
    """It is taken as it is, and is the user's; the same again is the same object."""
    found = findings.of_file(_pair(running=False), KEY, DERS, pki.NOW)
    assert found.credential is not None
    assert (found.credential.ders, found.credential.source) == (DERS, credential.FILE)
    pair = _pair()
    pair.note_live(found.credential, presented=True, found=found)
    again = findings.of_file(pair, KEY, DERS, pki.NOW)
    assert again.credential is found.credential
    pair.note_check(again, None, pki.NOW, 300, 0)
    assert findings.of_file(pair, KEY, DERS, pki.NOW).credential is found.credential


def test_an_empty_file_of_the_user_s() -> None:
    """What runs goes on, and the reason names the file."""
    pair = _pair()
    found = findings.of_file(pair, KEY, (), pki.NOW)
    assert found.credential is pair.running
    assert found.problem
    assert (found.problem.outcome, "/a.crt" in found.problem.detail) == (Outcome.MALFORMED, True)


def test_a_file_of_the_user_s_for_another_key() -> None:
    """What is stored goes on, and the hint names both files."""
    pair, other = _pair(), pki.key_of(pki.ec_key(2))
    found = findings.of_file(pair, other, DERS, pki.NOW)
    assert found.credential is pair.kept
    assert found.problem
    assert found.problem.outcome is Outcome.KEY_MISMATCH
    assert found.problem.detail.startswith("/a.crt: ")
    assert found.problem.hint == "/a.crt and /a.key must belong together"


@pytest.mark.parametrize(
    ("spec", "key", "hosts", "outcome"),
    [
        (SPEC, KEY, "certmgr.acme.com", None),
        (SPEC, KEY, None, Outcome.UNREACHABLE),
        (replace(SPEC, lookup=""), KEY, "certmgr.acme.com", Outcome.CONFIG_REJECTED),
        (SPEC, replace(KEY, key_type=None), "certmgr.acme.com", Outcome.KEY_UNREADABLE),
    ],
)
def test_unaskable(tmp_path: Path, spec: PairSpec, key: Key, hosts: str | None, outcome: Outcome | None) -> None:
    """CertMgr is asked with a key that it could have, for a name, where it is; each of these has its hint."""
    problem = findings.unaskable(spec, key, rig.settings(tmp_path, CERTMGR_HOST=hosts))
    assert (problem and problem.outcome) == outcome
    assert problem is None or problem.hint


def test_several_hosts() -> None:
    """The answer that says most is named, with its certificate; what is stored goes on."""
    pair, info = _pair(), rig.usable(ISSUED).leaf
    away, wrong = Problem(Outcome.UNREACHABLE, "refused"), Problem(Outcome.WRONG_NAME, "another")
    failed = [(FIRST, Found(None, away)), ("two.acme.com:443", Found(None, wrong, info=info))]
    found = findings.of_several_hosts(pair, failed)
    assert (found.credential, found.info, found.certmgr) == (pair.kept, info, "two.acme.com:443")
    assert found.problem
    assert found.problem.outcome is Outcome.WRONG_NAME
    assert f"{FIRST}: unreachable: refused" in found.problem.detail
