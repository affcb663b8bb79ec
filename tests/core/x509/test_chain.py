"""The chain that is built of what was sent: in any order, with strangers, by the best of several ways."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.core.model import Outcome
from entrypoint.core.x509 import chain as linking
from entrypoint.core.x509.chain import order
from tests.core.x509.vetting import (
    BETWEEN,
    DAY,
    FULL,
    ROOT,
    SERVED,
    SITE,
    SITE_KEY,
    chain,
    look,
    outcomes,
    site,
)
from tests.support.pki import NOW, Issued, cross_sign, ec_key, issue, key_of, root, rsa_key


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_duplicates_and_strangers_do_not_matter(data: st.DataObject) -> None:
    """Any permutation, with duplicates and strangers, gives the same chain as the ordered one."""
    strangers = [
        root("Stranger").der,
        issue("other.acme.io", root("Stranger"), names=["www.acme.io"]).der,
        b"junk",
    ]
    pile = [SITE.der, BETWEEN.der, *data.draw(st.lists(st.sampled_from([*FULL, *strangers]), max_size=8))]
    shuffled = data.draw(st.permutations(pile))
    assert chain(look(shuffled)) == SERVED
    assert order(shuffled, key_of(SITE_KEY).spki) == SERVED


def test_the_first_certificate_is_the_leaf_where_none_has_our_key() -> None:
    """Without our key the answer is taken at its word."""
    assert order([SITE.der, ROOT.der, BETWEEN.der]) == SERVED
    assert order([BETWEEN.der, SITE.der]) == (BETWEEN.der,)
    assert order([]) == ()
    assert order([b"junk"]) == ()


def test_a_private_ca_sends_leaf_and_root() -> None:
    """MicroCA: no intermediate; the leaf is served alone."""
    micro = root("MicroCA", plain=True)
    leaf = site(micro, plain=True)
    assert chain(look([leaf.der, micro.der])) == (leaf.der,)
    assert chain(look([leaf.der, micro.der], roots=[micro.cert])) == (leaf.der,)
    assert chain(look([leaf.der], roots=[micro.cert])) == (leaf.der,)


def test_a_self_signed_leaf_is_its_own_chain() -> None:
    """It stays, although it is a root; even one that says CA:TRUE, as old tools make them."""
    for ca in (False, True):
        own = site(None, ca=ca)
        assert chain(look([own.der, ROOT.der])) == (own.der,)
        assert chain(look([own.der], roots=[ROOT.cert, own.cert])) == (own.der,)
        assert outcomes(look([own.der], roots=[ROOT.cert])) == [Outcome.UNTRUSTED]


def test_a_missing_intermediate_is_a_broken_chain() -> None:
    """A lone leaf whose issuer was not sent is refused, naming it, unless a trusted root is that issuer."""
    (problem,) = look([SITE.der]).problems
    assert problem.outcome is Outcome.BROKEN_CHAIN
    assert "CN=Issuing CA, was not sent" in problem.detail
    assert outcomes(look([SITE.der, ROOT.der])) == [Outcome.BROKEN_CHAIN]
    assert outcomes(look([SITE.der], roots=[ROOT.cert])) == [Outcome.BROKEN_CHAIN]
    assert chain(look([SITE.der], roots=[BETWEEN.cert])) == (SITE.der,)


def test_an_issuer_by_name_only_is_a_broken_chain() -> None:
    """A certificate of the issuer's name with another key did not sign the leaf."""
    for key in (rsa_key(102), ec_key(102)):
        impostor = issue("Issuing CA", ROOT, ca=True, key=key)
        (problem,) = look([SITE.der, impostor.der, ROOT.der]).problems
        assert problem.outcome is Outcome.BROKEN_CHAIN
        assert "CN=www.acme.io does not verify with the CN=Issuing CA" in problem.detail
        assert chain(look([SITE.der, impostor.der, BETWEEN.der, ROOT.der])) == SERVED


def test_the_cross_signed_path_that_goes_on_is_preferred() -> None:
    """A root sent both self-signed and cross-signed: the cross-signed one is kept for old clients."""
    older = root("Older Root", rsa_key(103))
    crossed = cross_sign(ROOT, older)
    expected = (SITE.der, BETWEEN.der, crossed.der)
    for ders in ([*FULL, crossed.der], [SITE.der, crossed.der, older.der, ROOT.der, BETWEEN.der]):
        assert chain(look(ders)) == expected
        assert chain(look(ders, roots=[ROOT.cert])) == expected
        assert chain(look(ders, roots=[older.cert])) == expected


def test_an_expired_cross_signature_is_left_out_where_there_is_another_way() -> None:
    """When the older root's signature has expired, the path by the self-signed root is taken."""
    expired = cross_sign(ROOT, root("Older Root", rsa_key(103)), not_after=NOW - timedelta(hours=1))
    assert chain(look([SITE.der, BETWEEN.der, expired.der, ROOT.der])) == SERVED


def test_with_roots_the_path_that_leads_to_one_is_taken() -> None:
    """Two intermediates of the same name and key: the one below the trusted root is served."""
    other = root("Other Root", rsa_key(104))
    twin = cross_sign(BETWEEN, other, not_after=NOW + 999 * DAY)
    ders = [SITE.der, twin.der, BETWEEN.der]
    assert chain(look(ders, roots=[other.cert])) == (SITE.der, twin.der)
    assert chain(look(ders, roots=[ROOT.cert])) == SERVED


def test_cas_that_sign_each_other_end() -> None:
    """A loop of cross-signed CAs terminates, each of them once."""
    one, two = root("One"), root("Two")
    by_two, by_one = cross_sign(one, two), cross_sign(two, one)
    leaf = site(by_two)
    assert chain(look([leaf.der, by_two.der, by_one.der])) == (leaf.der, by_two.der, by_one.der)
    assert chain(look([leaf.der, by_two.der, by_one.der, one.der, two.der])) == (
        leaf.der,
        by_two.der,
        by_one.der,
    )


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that gets an entry for each signature that is checked."""
    found: list[object] = []
    genuine = linking._issued

    def counted(issuer: x509.Certificate, cert: x509.Certificate) -> bool:
        found.append(cert)
        return genuine(issuer, cert)

    monkeypatch.setattr(linking, "_issued", counted)
    return found


def test_a_chain_of_a_hundred_certificates_is_refused_soon(checks: list[object]) -> None:
    """Each signed by the next: bounded work, a broken chain."""
    cas = [root("CA 0")]
    for number in range(1, 100):
        cas.append(issue(f"CA {number}", cas[-1], ca=True, key=ec_key(number % 3)))
    ders = [site(cas[-1]).der, *(ca.der for ca in reversed(cas))]
    verdict = look(ders, roots=[cas[0].cert])
    assert outcomes(verdict) == [Outcome.BROKEN_CHAIN]
    assert "more than 20 links" in verdict.problems[0].detail
    assert len(checks) < 100


def test_a_hundred_certificates_of_one_name_cost_little(checks: list[object]) -> None:
    """Many CAs of the same name that all sign each other do not multiply into a search without end."""
    keys = [ec_key(number) for number in range(10)]
    cas = [issue("Same", Issued(BETWEEN.cert, key), ca=True, key=key) for key in keys]
    tangle = [issue("Same", Issued(cas[0].cert, by), ca=True, key=key) for key in keys for by in keys]
    leaf = site(cas[3])
    verdict = look([leaf.der, *(ca.der for ca in tangle)], roots=[ROOT.cert])
    # Which of the two depends on whether the issuer is among the candidates that are tried at all.
    assert outcomes(verdict) in ([Outcome.UNTRUSTED], [Outcome.BROKEN_CHAIN])
    assert 0 < len(checks) < 1000


def test_a_megabyte_of_certificate_is_vetted() -> None:
    """A huge extension beside the usual ones changes nothing."""
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"x" * 1_000_000)
    huge = site(extensions=[filler])
    assert chain(look([huge.der, BETWEEN.der, ROOT.der])) == (huge.der, BETWEEN.der)


def test_junk_in_the_answer_matters_only_where_it_may_be_what_is_missing() -> None:
    """Beside a whole chain junk is dropped; beside a broken one, or in the leaf's place, it is reported."""
    assert chain(look([*FULL, b"junk"])) == SERVED
    assert outcomes(look([SITE.der, b"junk", ROOT.der])) == [Outcome.MALFORMED, Outcome.BROKEN_CHAIN]
    assert outcomes(look([b"junk", BETWEEN.der])) == [Outcome.MALFORMED, Outcome.WRONG_NAME]
    assert "(and 1 more)" in look([b"junk", b"rubbish"]).problems[0].detail
