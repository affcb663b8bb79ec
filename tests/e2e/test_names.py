"""Certificates that lack names: who is covered is served and renewed, who is not is gated alone, by its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from entrypoint.demo.standin import Credential
from tests.support.front import PASSWORD, Front, presented
from tests.support.pki import cached_key
from tests.support.user import User

SHARED = """server {{
    listen {https} ssl;
    server_name {names};
    ssl_certificate shared.crt;
    ssl_certificate_key shared.key;
    return 200 "{names}\\n";
}}
"""
ONE, TWO, THREE, FOUR = "one.acme.io", "two.acme.io", "three.acme.io", "four.acme.io"
ALIAS = "alias.acme.io"


@pytest.fixture
def user() -> Iterator[User]:
    """Three servers that share one pair: one name, another one, and two names."""
    with User() as found:
        (found.etc / "shared.key").write_bytes(encrypted_pem(cached_key(KeyType.ECDSA, "shared"), PASSWORD))
        for number, names in enumerate((ONE, TWO, f"{THREE} {FOUR}"), 1):
            found.put_file(f"conf.d/{number}.conf", SHARED, names=names)
        yield found


def give(front: Front, kind: str, *names: str) -> Issued:
    """CertMgr has a certificate for these names from now on, whichever name is asked for."""
    issued = front.authority.issue(names, key=cached_key(KeyType.ECDSA, kind))
    front.certmgr.put(Credential((ONE, TWO, THREE, FOUR, NAME, ALIAS), issued.key, issued.chain))
    return issued


def warnings(front: Front) -> dict[str, str]:
    found = front.report().get("configuration", {}).get("warnings", [])
    return {each["where"].rpartition("/")[2]: each["reason"] for each in found if "lacks" in each["reason"]}


def test_a_shared_certificate(user: User) -> None:
    """The uncovered server is gated alone, the others are served and renewed, and it comes in with the renewal."""
    first = give(user, "shared", ONE, THREE)
    user.start()
    user.until(lambda: user.serves(first, ONE) and user.serves(first, THREE), "those that are covered")
    user.until(lambda: [*user.commented_out()] == ["2.conf:1"], "the one that is not, gated")
    assert TWO in user.commented_out()["2.conf:1"]
    assert user.plain()
    user.until(lambda: user.entry(ONE).get("outcome") in ("installed", "unchanged"), "the outcome")
    assert f"missing: {TWO}, {FOUR}" in str(user.entry(ONE)["detail"])
    user.until(lambda: [*warnings(user)] == ["3.conf:1"], "the warning")
    assert FOUR in warnings(user)["3.conf:1"]
    second = give(user, "shared", ONE, THREE)
    user.until(lambda: user.serves(second, ONE) and user.serves(second, THREE), "the renewal")
    third = give(user, "shared", ONE, TWO, THREE, FOUR)
    user.until(lambda: all(user.serves(third, name) for name in (ONE, TWO, THREE, FOUR)), "all names")
    user.until(lambda: not user.commented_out() and not warnings(user), "nothing is left to say")
    fourth = give(user, "shared", TWO)
    user.until(lambda: user.serves(fourth, TWO), "a renewal that has lost names")
    user.until(lambda: [*user.commented_out()] == ["1.conf:1", "3.conf:1"], "those it has lost, gated")


def test_a_certificate_for_nobody_here(user: User) -> None:
    """Without a single name of theirs it is another one, as ever."""
    give(user, "shared", "elsewhere.acme.io")
    user.start()
    user.until(lambda: user.entry(ONE).get("outcome") == "wrong-name", "the outcome")
    assert len(user.commented_out()) == 3


def test_a_restart_without_certmgr(user: User) -> None:
    """What was served last is served again: those that are covered, without the one that is not."""
    first = give(user, "shared", ONE, THREE)
    user.start()
    user.until(lambda: user.serves(first, ONE), "the first certificate")
    user.until(lambda: [*user.commented_out()] == ["2.conf:1"], "the other one gated")
    user.stop()
    user.certmgr.stop()
    user.start()
    user.until(lambda: user.serves(first, ONE) and user.serves(first, THREE), "the stored one")
    user.until(lambda: [*user.commented_out()] == ["2.conf:1"], "the other one gated again")


def test_an_alias_of_the_built_in_site() -> None:
    """One that is not covered yet keeps nobody off: it is refused like unknown names, said, and comes in later."""
    with Front({"SERVER_NAME": f"{NAME} {ALIAS}"}) as front:
        front.issued = front.authority.issue(NAME, key=front.issued.key)
        front.put(front.issued)
        front.start()
        front.until_served(front.issued)
        with pytest.raises(OSError, match="unrecognized name"):
            presented(front.https_port, ALIAS)
        front.until(lambda: [*warnings(front)] == ["SERVER_NAME"], "the warning")
        assert ALIAS in warnings(front)["SERVER_NAME"]
        assert front.status()["outcome"] in ("installed", "unchanged")
        assert ALIAS in front.status()["detail"]
        assert front.http("/readyz", front.status_port)[0] == 200
        front.issued = front.authority.issue((NAME, ALIAS), key=front.issued.key)
        front.put(front.issued)
        front.until_served(front.issued)
        front.until(lambda: not warnings(front), "nothing is left to say")
        assert hashlib.sha256(presented(front.https_port, ALIAS)[0]).hexdigest() == fingerprint(front.issued)


def test_the_first_name_of_the_built_in_site() -> None:
    """The alias alone is covered: it is served and proved, whatever the first name is."""
    with Front({"SERVER_NAME": f"new.acme.io {NAME}", "CERTMGR_LOOKUP": NAME}) as front:
        front.put(front.issued)
        front.start()
        front.until(lambda: front.served() != "", "the alias")
        front.until(lambda: [*warnings(front)] == ["SERVER_NAME"], "the warning")
        assert "new.acme.io" in warnings(front)["SERVER_NAME"]
