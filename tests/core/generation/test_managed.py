"""One managed pair: what goes on being served, when it is checked, what its record says, and what is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from entrypoint.core.generation.managed import Found, ManagedPair, plannable
from entrypoint.core.generation.manifest import StoredPair
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import Key, Outcome, Problem
from entrypoint.core.x509 import credential, pem
from entrypoint.core.x509.credential import Credential
from tests.support import pki, rig

CA = pki.root()
SECRET = b"secret"
ISSUED = pki.issue("www.acme.io", CA, names=["www.acme.io"], key=pki.ec_key(1))
OLD, NEW = rig.usable(ISSUED, CA), rig.usable(pki.issue("www.acme.io", CA, names=["www.acme.io"], key=ISSUED.key), CA)
OTHER_KEY = rig.usable(pki.issue("www.acme.io", CA, names=["www.acme.io"], key=pki.ec_key(2)), CA)
SPEC = PairSpec("site-1", "www.acme.io", ("www.acme.io",), "www.acme.io", "/keys/key.pem", "/keys/pw.txt")
ENTRY = StoredPair("chain.pem", "key.pem")
KEY = pki.key_of(ISSUED.key)
AWAY = Problem(Outcome.UNREACHABLE, "refused", "is it up?")
NOW = pki.NOW


def _pair(stored: Credential | None = OLD, entry: StoredPair | None = ENTRY, key: Key | Problem = KEY) -> ManagedPair:
    pair = ManagedPair(SPEC, stored, entry)
    pair.current_key("contents", lambda: key)
    return pair


def _good(found: Credential) -> Found:
    return Found(found, None, certmgr="certmgr.acme.com:443", presented=found.ders)


def _outcome(pair: ManagedPair, found: Found, failure: Problem) -> Outcome | None:
    _checked(pair, found, failure)
    return pair.record.outcome


def _checked(pair: ManagedPair, found: Found, failure: Problem | None = None) -> list[str]:
    """A check that ended, and the levels of what the log says."""
    before = pair.record.served
    pair.note_check(found, failure, NOW, 300, 0)
    return [line.level for line in pair.news(found, before)]


def test_from_a_generation() -> None:
    """What a manifest describes is described whole, and served if a server presents it."""
    stored = credential.stored(OLD.as_json(), OLD.chain_pem, OLD.key_pem)
    pair = _pair(stored)
    assert (pair.live, pair.served, pair.running) == (True, True, OLD)
    assert pair.record.served == OLD.leaf
    assert (pair.record.certmgr, pair.record.source) == ("certmgr.acme.com", "certmgr")
    assert pair.record.changed_at == OLD.installed_at
    unpresented = _pair(stored, ENTRY._replace(presented=False))
    assert (unpresented.live, unpresented.served, unpresented.record.served) == (True, False, None)
    older = _pair(stored, None)
    assert (older.live, older.served, older.credential, older.running) == (False, False, OLD, None)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        rig.usable(pki.issue("www.acme.org", CA, names=["www.acme.org"])),
        credential.stored({"names": ["www.acme.io"]}, b"no PEM", b""),
        credential.stored({"names": ["www.acme.io"]}, pem.encode([b"no DER"]), b""),
    ],
)
def test_nothing_of_use_in_a_generation(stored: Credential | None) -> None:
    """What is no certificate, or for other names than now, is not served."""
    pair = _pair(stored)
    assert (pair.credential, pair.live, pair.served, pair.kept) == (None, False, False, None)


def test_the_user_s_own_may_have_any_names() -> None:
    """Which ones it has is the user's choice."""
    own = replace(rig.usable(pki.issue("x", CA, names=["x"])), source=credential.FILE)
    assert _pair(own).running == own


def test_kept() -> None:
    """The stored chain goes on with our key where both fit, live or not; else what runs, with the key that it has."""
    assert _pair().kept is OLD.with_key(OLD.key_pem)
    encrypted = pki.key_of(ISSUED.key, pem=pki.key_pem(ISSUED.key, SECRET))
    assert _pair(entry=None, key=encrypted).kept == OLD.with_key(encrypted.pem)
    for key in (pki.key_of(pki.ec_key(2)), AWAY):
        assert _pair(key=key).kept is OLD
        assert _pair(entry=None, key=key).kept is None


def test_the_same_object_until_something_changes() -> None:
    """Cycle by cycle, so that hashes and digests are made once."""
    pair = _pair()
    again = replace(KEY, pem=bytes(bytearray(OLD.key_pem)))
    pair.current_key("files", lambda: again)
    assert pair.kept is pair.running is pair.credential
    pair.note_live(NEW, presented=True, found=_good(NEW))
    assert pair.kept is pair.running is NEW


def test_a_key_is_read_when_its_files_change() -> None:
    """Once for the same contents: a slow derivation must not cost every check."""
    pair, reads = ManagedPair(SPEC), []

    def load() -> Key:
        reads.append(KEY)
        return KEY

    for contents in ("a", "a", "b", "b"):
        assert pair.current_key(contents, load) is KEY
    assert len(reads) == 2


def test_known() -> None:
    """A chain that was vetted is known as long as chain, key, dates and names are the same."""
    pair = _pair()
    assert not pair.knows(OLD.ders, KEY, NOW)
    _checked(pair, _good(OLD))
    assert pair.knows(OLD.ders, KEY, NOW)
    assert not pair.knows(NEW.ders, KEY, NOW)
    assert not pair.knows(OLD.ders, pki.key_of(pki.ec_key(2)), NOW)
    assert not pair.knows(OLD.ders, KEY, OLD.leaf.not_after)
    pair.specify(SPEC)
    assert pair.knows(OLD.ders, KEY, NOW)
    pair.specify(replace(SPEC, names=("www.acme.io", "acme.io"), title="acme.io"))
    assert not pair.knows(OLD.ders, KEY, NOW)
    assert (pair.record.name, pair.record.wanted) == ("acme.io", ("www.acme.io", "acme.io"))
    assert pair.is_due(NOW, 0, 400)


def test_not_known_after_a_failure() -> None:
    """What could not be made live is vetted again; so is what came while something else failed."""
    pair = _pair()
    _checked(pair, _good(NEW), Problem(Outcome.RELOAD_FAILED, "no"))
    assert not pair.knows(NEW.ders, KEY, NOW)


def test_live() -> None:
    """What is live and was found just now, or known before, is taken over with the key that it has there."""
    pair, encrypted = _pair(), pki.key_pem(ISSUED.key, SECRET)
    pair.note_live(NEW.with_key(encrypted), presented=True, found=_good(NEW))
    assert pair.running == NEW.with_key(encrypted)
    stored = credential.stored(NEW.as_json(), NEW.chain_pem, NEW.key_pem)
    pair.note_live(stored, presented=False, found=_good(OLD))  # held back: what ran before goes on
    assert (pair.running, pair.served) == (NEW, False)
    assert pair.running is not None
    assert pair.running.leaf == NEW.leaf
    pair.note_live(None, presented=False, found=None)
    assert (pair.live, pair.kept) == (False, NEW)


def test_a_renewal() -> None:
    """Installed once, with a block; then unchanged, in a line and from then on for debugging only."""
    pair = _pair()
    pair.note_live(NEW, presented=True, found=_good(NEW))
    assert _checked(pair, _good(NEW)) == ["info"]
    assert (pair.record.outcome, pair.record.served) == (Outcome.INSTALLED, NEW.leaf)
    assert _checked(pair, _good(NEW)) == ["info"]
    assert pair.record.outcome is Outcome.UNCHANGED
    assert _checked(pair, _good(NEW)) == ["debug"]
    assert pair.record.next_check_at == NOW + timedelta(seconds=300)
    assert (pair.record.certmgr, pair.record.key_type) == ("certmgr.acme.com:443", "ecdsa")


def test_failures() -> None:
    """The same failure is a warning once; what is served goes on, and the next check comes ever later."""
    pair, waits = _pair(), []
    levels = []
    for _ in range(4):
        levels += _checked(pair, Found(pair.kept, AWAY))
        assert pair.record.next_check_at
        waits.append(pair.record.next_check_at - NOW)
    assert levels == ["warning", "debug", "debug", "debug"]
    assert waits == sorted({*waits})
    assert (pair.record.outcome, pair.record.failures, pair.record.served) == (Outcome.UNREACHABLE, 4, OLD.leaf)
    assert _checked(pair, _good(OLD)) == ["info"]
    assert (pair.record.outcome, pair.record.failures) == (Outcome.UNCHANGED, 0)


def test_a_failure_that_does_not_concern_it() -> None:
    """Where the chain that was found is served, the failure is somebody else's; where another is served, its own."""
    failure = Problem(Outcome.CONFIG_REJECTED, "a server of another")
    pair = _pair()
    assert _outcome(pair, _good(OLD), failure) is Outcome.UNCHANGED
    assert _outcome(pair, _good(NEW), failure) is Outcome.CONFIG_REJECTED
    pair.doubt()
    assert pair.record.served is None
    assert _outcome(pair, _good(OLD), failure) is Outcome.CONFIG_REJECTED


def test_warnings_are_said_once() -> None:
    """Of one certificate, however often it is checked; what no handshake proves is in the record."""
    pair = _pair()
    found = replace(_good(OLD), warnings=(Problem(Outcome.WRONG_NAME, "it lacks acme.io"),))
    pair.note_unproved("no handshake is completed")
    assert _checked(pair, found) == ["info", "warning"]
    assert pair.record.detail == "it lacks acme.io; no handshake is completed"
    assert _checked(pair, found) == ["debug"]
    pair.note_live(NEW, presented=True, found=_good(NEW))
    assert _checked(pair, replace(found, credential=NEW, presented=NEW.ders)) == ["info", "warning"]


@pytest.mark.parametrize(("ahead", "due"), [(None, True), (-1, True), (5, True), (6, False), (400, False), (401, True)])
def test_due(ahead: int | None, due: bool) -> None:
    """At once at first; then when the time has come, soon, or was planned by another clock."""
    pair = _pair()
    pair.record = replace(pair.record, next_check_at=None if ahead is None else NOW + timedelta(seconds=ahead))
    assert pair.is_due(NOW, 5, 400) is due


def _stored(key_pem: bytes) -> ManagedPair:
    """A stored pair that does not run, whose key has been exchanged since."""
    return _pair(rig.usable(ISSUED, CA, key_pem=key_pem), None, pki.key_of(pki.ec_key(2)))


def test_a_stored_pair_goes_on() -> None:
    """It is served where nothing better was found: with a key in clear, or one that a password of now opens."""
    missing = Found(None, AWAY)
    plain = _stored(pki.key_pem(ISSUED.key))
    assert plain.go_on(missing, tuple) == Found(plain.credential, AWAY)
    encrypted, asked = _stored(pki.key_pem(ISSUED.key, SECRET)), []

    def passwords() -> tuple[bytes, ...]:
        asked.append(1)
        return b"other", SECRET

    for _ in range(2):
        assert encrypted.go_on(missing, passwords).credential is encrypted.credential
    assert len(asked) == 1  # until the files change
    assert encrypted.passwords == (None, SECRET)
    assert _pair().go_on(missing, tuple) is missing
    assert _pair(None).go_on(missing, tuple) is missing
    better = _good(OTHER_KEY)
    assert plain.go_on(better, tuple) is better


def test_a_stored_pair_that_stays_closed() -> None:
    """Then the record says so, with the way out; what else is wrong is said besides."""
    found = _stored(pki.key_pem(ISSUED.key, SECRET)).go_on(Found(None, AWAY), lambda: (b"other",))
    assert found.credential is None
    assert found.problem
    assert found.problem.outcome is Outcome.WRONG_PASSWORD
    assert found.problem.detail.endswith("; unreachable: refused")
    assert "/keys/pw.txt" in found.problem.hint
    unreadable = _pair(rig.usable(ISSUED, CA, key_pem=pki.key_pem(ISSUED.key, SECRET)), None, AWAY)
    assert unreadable.go_on(Found(None, AWAY), tuple).problem is AWAY


def test_plannable() -> None:
    """What was found comes first, though that is nothing; the others go on. Reasons are of now, or of before."""
    pairs = [ManagedPair(replace(SPEC, identity=name), OLD, ENTRY) for name in ("a", "b", "c")]
    _checked(pairs[2], Found(OLD, Problem(Outcome.UNREACHABLE, "since yesterday")))
    usable, reasons = plannable(pairs, {"a": _good(NEW), "b": Found(None, AWAY)})
    assert usable == {"a": NEW, "c": OLD}
    assert reasons == {"b": "refused", "c": "since yesterday"}
    assert plannable(pairs, {})[0] == {"a": OLD, "b": OLD, "c": OLD}
