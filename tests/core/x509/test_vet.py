"""What vetting says of every chain that CertMgr, or somebody in its place, may send."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.core.model import KeyType, Outcome, Refused, Verdict
from entrypoint.core.x509 import chain as linking
from entrypoint.core.x509.certificate import describe
from entrypoint.core.x509.chain import order
from entrypoint.core.x509.vet import vet
from tests.support.pki import NOW, Issued, cross_sign, ec_key, issue, key_of, key_pem, root, rsa_key

DAY = timedelta(days=1)
ROOT = root("Root", rsa_key(100))
BETWEEN = issue("Issuing CA", ROOT, ca=True, key=rsa_key(101))
SITE_KEY = rsa_key(1)
SITE = issue("www.acme.io", BETWEEN, names=["www.acme.io", "acme.io"], key=SITE_KEY)
FULL = [SITE.der, BETWEEN.der, ROOT.der]
SERVED = (SITE.der, BETWEEN.der)
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")


def look(ders: Sequence[bytes], wanted: Sequence[str] = ("www.acme.io",), **options: Any) -> Verdict:
    options.setdefault("key", key_of(SITE_KEY))
    options.setdefault("now", NOW)
    return vet(ders, wanted=wanted, **options)


def outcomes(verdict: Verdict) -> list[Outcome]:
    return [problem.outcome for problem in verdict.problems]


def chain(verdict: Verdict) -> tuple[bytes, ...]:
    """Return the chain of a verdict that must be good."""
    assert verdict.problems == ()
    assert verdict.chain is not None
    assert verdict.found == verdict.chain.leaf
    return verdict.chain.ders


def site(issuer: Issued | None = BETWEEN, **options: Any) -> Issued:
    options.setdefault("names", ["www.acme.io"])
    return issue("www.acme.io", issuer, key=options.pop("key", SITE_KEY), **options)


ADDRESS = site(names=["192.0.2.1"], key=ec_key(3))

# Describing


def test_a_certificate_is_described_by_what_people_ask() -> None:
    """Names in lower case with their addresses, DNs, serial, fingerprint, key type and dates in UTC."""
    key = ec_key(1)
    cert = issue(
        "www.acme.io",
        ROOT,
        key=key,
        names=["WWW.acme.io", "*.Acme.io", "192.0.2.1", "2001:db8::1"],
        serial=0xAB01,
    )
    info = describe(cert.der)
    assert info.names == ("www.acme.io", "*.acme.io", "192.0.2.1", "2001:db8::1")
    assert (info.subject, info.issuer, info.serial) == ("CN=www.acme.io", "CN=Root", "AB:01")
    assert (info.key_type, info.spki) == (KeyType.ECDSA, key_of(key).spki)
    assert (info.not_before, info.not_after) == (NOW - DAY, NOW + 90 * DAY)
    assert info.not_before.utcoffset() == timedelta(0)


@pytest.mark.process
@needs_openssl
def test_serial_and_fingerprint_read_as_openssl_prints_them() -> None:
    """Administrators compare them with what the openssl command shows."""
    shown = subprocess.run(
        [str(OPENSSL), "x509", "-noout", "-fingerprint", "-sha256", "-serial", "-text"],
        input=SITE.pem,
        capture_output=True,
        check=True,
    ).stdout.decode()
    info = describe(SITE.der)
    assert info.serial.replace(":", "") in shown
    assert info.serial.lower() in shown
    assert info.fingerprint_sha256.upper() in shown.replace(":", "")


def test_the_common_name_counts_only_without_a_san() -> None:
    """With a SAN the CN is no name; without one it is the only name there is."""
    assert describe(issue("cn.acme.io", ROOT, names=["www.acme.io"]).der).names == ("www.acme.io",)
    assert describe(issue("CN.acme.io", ROOT).der).names == ("cn.acme.io",)


def test_an_address_as_dns_name_is_no_address() -> None:
    """A dNSName that spells an IP address covers nothing: addresses need an iPAddress SAN."""
    san = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1"), x509.DNSName("www.acme.io")])
    cert = issue("x", ROOT, extensions=[san])
    assert describe(cert.der).names == ("www.acme.io",)


def test_control_characters_of_a_certificate_reach_no_log() -> None:
    """Names are the other side's choice: line breaks and escape sequences come out escaped."""
    san = x509.SubjectAlternativeName([x509.DNSName("a\n;evil\x1b[2J")])
    info = describe(issue("bad\nname\x1b[2J", ROOT, extensions=[san]).der)
    assert info.subject == r"CN=bad\x0aname\x1b[2J"
    assert info.names == (r"a\x0a;evil\x1b[2j",)


@pytest.mark.parametrize(("serial", "shown"), [("92", "-6E"), ("00", "00"), ("7f", "7F")])
def test_odd_serial_numbers_are_survived(serial: str, shown: str) -> None:
    """A negative serial number is printed with its sign, zero as zero, and nothing warns."""
    der = issue("odd", None, serial=1).der
    version_and_serial = bytes.fromhex("a003020102 0201")
    assert der.count(version_and_serial + b"\1") == 1
    odd = der.replace(version_and_serial + b"\1", version_and_serial + bytes.fromhex(serial))
    assert describe(odd).serial == shown


def test_a_key_of_another_type_is_described_without_a_type() -> None:
    """An Ed25519 certificate is described, and refused by type, since Domino has no such keys."""
    cert = site(key=ed25519.Ed25519PrivateKey.generate())
    assert describe(cert.der).key_type is None
    verdict = look([cert.der, BETWEEN.der])
    assert outcomes(verdict) == [Outcome.KEY_TYPE_MISMATCH, Outcome.UNTRUSTED]
    assert "neither an RSA nor an ECDSA" in verdict.problems[0].detail


def test_an_extension_that_does_not_parse_is_malformed_not_fatal() -> None:
    """describe goes on without names; vet says that the extensions do not parse."""
    bad = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05nope")
    cert = site(names=(), extensions=[bad])
    assert describe(cert.der).names == ("www.acme.io",)
    assert outcomes(look([cert.der, BETWEEN.der])) == [Outcome.MALFORMED]


@pytest.mark.parametrize(
    "der", [b"", b"\x00", b"garbage", b"0" * 1000, SITE.der[:-1], SITE.der[:100], SITE.der + b"x"], ids=range(7)
)
def test_what_is_no_certificate_is_malformed(der: bytes) -> None:
    """Empty, garbage, truncated and overlong: Refused from describe, a verdict from vet."""
    with pytest.raises(Refused, match=r"no X\.509 certificate") as refused:
        describe(der)
    assert refused.value.problem.outcome is Outcome.MALFORMED
    assert outcomes(look([der])) == [Outcome.MALFORMED]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mutated_certificate_escapes(data: st.DataObject) -> None:
    """Whatever bytes are changed, describe raises nothing but Refused and vet nothing at all."""
    der = bytearray(data.draw(st.sampled_from([*FULL, ADDRESS.der])))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Refused):
        describe(bytes(der))
    for ders in ([bytes(der)], [bytes(der), BETWEEN.der], [SITE.der, bytes(der), ROOT.der]):
        assert isinstance(look(ders, roots=[ROOT.cert]), Verdict)


# Names


def test_the_right_chain_passes() -> None:
    """Leaf, intermediate and root for the right names and key: served without the root."""
    assert chain(look(FULL, ["www.acme.io", "acme.io"])) == SERVED
    assert chain(look(FULL[:2])) == SERVED


def test_an_ecdsa_chain_passes() -> None:
    """The same on elliptic curves."""
    ca = root("EC Root")
    leaf = site(ca, key=ec_key(1))
    assert chain(look([leaf.der, ca.der], key=key_of(ec_key(1)))) == (leaf.der,)


def test_nothing_at_all_is_no_certificate() -> None:
    """An empty answer has its own outcome."""
    verdict = look([])
    assert outcomes(verdict) == [Outcome.NO_CERTIFICATE]
    assert verdict.found is None


def test_the_default_certificate_is_a_wrong_name_and_nothing_else() -> None:
    """Of somebody else's certificate only the name is wrong, and the hint says what to look at."""
    default = issue("default", BETWEEN, names=["default.acme.com"], key=rsa_key(2), not_after=NOW - DAY)
    verdict = look([default.der, BETWEEN.der], asked="www.acme.io")
    (problem,) = verdict.problems
    assert problem.outcome is Outcome.WRONG_NAME
    assert problem.detail == "asked for www.acme.io, got a certificate for default.acme.com; missing: www.acme.io"
    assert "Servers with access" in problem.hint
    assert verdict.found == describe(default.der)


def test_the_name_that_was_asked_for_without_those_that_are_wanted() -> None:
    """It is the right certificate, as CERTMGR_LOOKUP says: the names are what is wrong, not the access."""
    (problem,) = look([SITE.der, BETWEEN.der], ["192.0.2.1"], asked="www.acme.io").problems
    assert problem.outcome is Outcome.WRONG_NAME
    assert "add them to the TLS Credentials" in problem.hint


@pytest.mark.parametrize("first", ["www.acme.io", "shop.acme.io", "*.acme.io"])
def test_a_certificate_that_lacks_some_names_is_served_for_the_others(first: str) -> None:
    """A warning names them, and says what is to be changed. Whatever else is wrong still counts."""
    wanted = sorted({first, "www.acme.io", "shop.acme.io"}, key=lambda name: name != first)
    verdict = look([SITE.der, BETWEEN.der], wanted)
    assert verdict.problems == ()
    assert verdict.chain
    (warning,) = verdict.warnings
    assert warning.outcome is Outcome.WRONG_NAME
    assert warning.detail.endswith(f"missing: {', '.join(name for name in wanted if name != 'www.acme.io')}")
    assert "SERVER_NAME" in warning.hint
    old = site(not_after=NOW - timedelta(hours=1))
    assert outcomes(look([old.der, BETWEEN.der], wanted)) == [Outcome.EXPIRED]
    assert outcomes(look([site(key=rsa_key(2)).der, BETWEEN.der], wanted)) == [Outcome.KEY_MISMATCH]


@pytest.mark.parametrize(
    ("names", "wanted", "good"),
    [
        (["*.acme.io"], ["www.acme.io", "*.acme.io"], True),
        (["*.acme.io"], ["acme.io"], False),
        (["www.acme.io"], ["*.acme.io"], False),
        (["xn--strae-oqa.de"], ["xn--strae-oqa.de"], True),
        (["my_host.acme.io"], ["my_host.acme.io"], True),
        (["192.0.2.1"], ["192.0.2.1"], True),
        (["www.acme.io"], [], True),
    ],
)
def test_a_wanted_name_is_covered_or_not(names: list[str], wanted: list[str], good: bool) -> None:
    """Wildcards, internationalised names, underscores and addresses."""
    assert outcomes(look([site(names=names).der, BETWEEN.der], wanted)) == [Outcome.WRONG_NAME] * (not good)


def test_hundreds_of_names_stay_readable() -> None:
    """The detail lists ten of them and counts the rest."""
    cert = site(names=[f"n{number}.acme.io" for number in range(300)])
    assert "n9.acme.io and 290 more" in look([cert.der, BETWEEN.der]).problems[0].detail


# Keys


def test_a_new_key_is_a_mismatch() -> None:
    """The right name on another key: the administrator is told to export the new one."""
    (problem,) = look([site(key=rsa_key(2)).der, BETWEEN.der]).problems
    assert problem.outcome is Outcome.KEY_MISMATCH
    assert "export" in problem.hint


def test_the_other_type_of_key_is_named() -> None:
    """RSA against ECDSA, either way round, names both."""
    (problem,) = look([site(key=ec_key(1)).der, BETWEEN.der]).problems
    assert problem.outcome is Outcome.KEY_TYPE_MISMATCH
    assert problem.detail == "the certificate's key is ECDSA, the private key is RSA"
    assert outcomes(look(FULL, key=key_of(ec_key(1)))) == [Outcome.KEY_TYPE_MISMATCH]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: rsa_key(9, 1024), "RSA key of 1024 bits, at least 2048 expected"),
        (lambda: ec_key(9, ec.SECP256K1), "secp256k1"),
        (lambda: ec_key(9, ec.BrainpoolP256R1), "brainpoolP256r1"),
    ],
)
def test_keys_that_browsers_do_not_take_are_untrusted(make: Any, found: str) -> None:
    """Short RSA keys and unusual curves are named."""
    verdict = look([site(key=make()).der, BETWEEN.der], key=key_of(make()))
    assert outcomes(verdict) == [Outcome.UNTRUSTED]
    assert found in verdict.problems[0].detail


# Dates


def test_dates_are_told_with_this_machine_s_clock() -> None:
    """Expired and not yet valid state both dates and the clock, in UTC."""
    later, earlier = NOW + 91 * DAY, NOW - 2 * DAY
    ancient = root("Root", rsa_key(100), not_before=NOW - 999 * DAY, not_after=NOW + 999 * DAY)
    ca = issue(
        "Issuing CA",
        ancient,
        ca=True,
        key=rsa_key(101),
        not_before=NOW - 999 * DAY,
        not_after=NOW + 999 * DAY,
    )
    (expired,) = look([SITE.der, ca.der], now=later).problems
    (early,) = look([SITE.der, ca.der], now=earlier).problems
    assert (expired.outcome, early.outcome) == (Outcome.EXPIRED, Outcome.NOT_YET_VALID)
    for problem, now in ((expired, later), (early, earlier)):
        for when in (NOW - DAY, NOW + 90 * DAY, now):
            assert f"{when:%Y-%m-%dT%H:%M:%SZ}" in problem.detail


@pytest.mark.parametrize(("now", "good"), [(NOW - DAY, True), (NOW + 90 * DAY, True), (NOW + 90.01 * DAY, False)])
def test_the_first_and_the_last_second_count(now: datetime, good: bool) -> None:
    """Both dates are inclusive (RFC 5280, section 4.1.2.5)."""
    assert bool(look([SITE.der, BETWEEN.der], now=now).chain) is good


def test_an_expired_intermediate_is_named() -> None:
    """A valid leaf below an expired intermediate is refused, and it says which."""
    old = issue("Old CA", ROOT, ca=True, not_after=NOW - timedelta(hours=1))
    (problem,) = look([site(old).der, old.der, ROOT.der]).problems
    assert problem.outcome is Outcome.EXPIRED
    assert "the intermediate CN=Old CA has expired" in problem.detail


# Links


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


# Trust


def test_a_chain_must_lead_to_a_trusted_root() -> None:
    """With roots given: the right one, with or without it in the answer; not a wrong one; not none."""
    for ders in (FULL, FULL[:2]):
        assert chain(look(ders, roots=[root("Else").cert, ROOT.cert])) == SERVED
        (problem,) = look(ders, roots=[root("Else").cert]).problems
        assert problem.outcome is Outcome.UNTRUSTED
        assert "CN=Root" in problem.detail
        assert outcomes(look(ders, roots=[])) == [Outcome.UNTRUSTED]


def test_an_intermediate_may_be_the_trusted_root() -> None:
    """A trust anchor need not sign itself."""
    assert chain(look(FULL, roots=[BETWEEN.cert])) == SERVED


def test_trust_takes_what_browsers_take() -> None:
    """A private CA without key identifiers and key usage, names with underscores, wildcards and addresses."""
    ca = root("Private", plain=True)
    between = issue("Private Issuing", ca, ca=True, plain=True)
    names = ["my_host.acme.io", "*.acme.io", "192.0.2.1"]
    leaf = site(between, names=names, plain=True)
    assert chain(look([leaf.der, between.der], names, roots=[ca.cert])) == (leaf.der, between.der)


@pytest.mark.parametrize("now", [NOW + 91 * DAY, NOW - 2 * DAY])
def test_dates_are_reported_once_with_roots_too(now: datetime) -> None:
    """The search for a root happens within the leaf's life, so that a date is not a lack of trust as well."""
    ca = root("Long", not_before=NOW - 999 * DAY, not_after=NOW + 999 * DAY)
    leaf = site(ca)
    date = Outcome.EXPIRED if now > NOW else Outcome.NOT_YET_VALID
    assert outcomes(look([leaf.der, ca.der], now=now, roots=[ca.cert])) == [date]


def test_a_leaf_that_issued_another_one_is_no_ca() -> None:
    """Anybody's server certificate must not vouch for others, with and without roots."""
    forged = issue("forged", SITE, names=["www.acme.io"], key=rsa_key(2))
    ders = [forged.der, *FULL]
    assert outcomes(look(ders, key=key_of(rsa_key(2)))) == [Outcome.UNTRUSTED]
    verdict = look(ders, key=key_of(rsa_key(2)), roots=[ROOT.cert])
    assert set(outcomes(verdict)) == {Outcome.UNTRUSTED}
    assert "no CA certificate" in verdict.problems[0].detail


def test_an_issuer_must_be_allowed_to_issue() -> None:
    """CA:FALSE, or a key usage without keyCertSign: no trusted root vouches for what it signed."""
    no_ca = issue("No CA", ROOT, extensions=[x509.BasicConstraints(ca=False, path_length=None)])
    usage = SITE.cert.extensions.get_extension_for_class(x509.KeyUsage).value  # as leaves have it
    no_signer = issue("No signer", ROOT, ca=True, plain=True, extensions=[usage])
    for issuer, reason in ((no_ca, "basicConstraints"), (no_signer, "keyCertSign")):
        verdict = look([site(issuer).der, issuer.der], roots=[ROOT.cert])
        assert set(outcomes(verdict)) == {Outcome.UNTRUSTED}
        assert reason in verdict.problems[-1].detail


def test_a_ca_certificate_is_no_server_s() -> None:
    """CA:TRUE in a leaf that somebody else issued is refused."""
    assert outcomes(look([site(ca=True).der, BETWEEN.der])) == [Outcome.UNTRUSTED]


def test_the_extended_key_usage_must_allow_servers() -> None:
    """clientAuth alone is refused and named; serverAuth or any is fine."""
    client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    (problem,) = look([site(extensions=[x509.ExtendedKeyUsage([client])]).der, BETWEEN.der]).problems
    assert problem.outcome is Outcome.UNTRUSTED
    assert "not for TLS servers: extended key usage is clientAuth" in problem.detail
    for good in (server, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE):
        leaf = site(extensions=[x509.ExtendedKeyUsage([client, good])])
        assert look([leaf.der, BETWEEN.der], roots=[ROOT.cert]).chain


@pytest.mark.process
@needs_openssl
@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_weak_signatures_are_untrusted_but_for_the_root_s_own(digest: str, tmp_path: Path) -> None:
    """A leaf signed with SHA-1 or MD5 is refused and says so; how a root signed itself does not matter."""

    def sign(subject: str, key: Path, *more: str) -> bytes:
        command = [str(OPENSSL), "req", "-x509", "-new", "-key", str(key), "-subj", f"/CN={subject}", *more]
        pem = subprocess.run(command, capture_output=True, check=True).stdout
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    (tmp_path / "ca.pem").write_bytes(key_pem(rsa_key(105)))
    (tmp_path / "site.pem").write_bytes(key_pem(SITE_KEY))
    ca = sign("Weak Root", tmp_path / "ca.pem", f"-{digest}")
    issuer = Issued(x509.load_der_x509_certificate(ca), rsa_key(105))
    strong = site(issuer)
    assert chain(look([strong.der, ca])) == (strong.der,)
    later = NOW + timedelta(hours=1)  # the openssl command dates from when it runs
    assert chain(look([strong.der, ca], roots=[issuer.cert], now=later)) == (strong.der,)
    (tmp_path / "ca.crt").write_bytes(issuer.pem)
    signed_by = ("-CA", str(tmp_path / "ca.crt"), "-CAkey", str(tmp_path / "ca.pem"))
    san = ("-addext", "subjectAltName=DNS:www.acme.io", "-addext", "basicConstraints=critical,CA:FALSE")
    weak = sign("www.acme.io", tmp_path / "site.pem", f"-{digest}", *signed_by, *san)
    verdict = look([weak, ca], now=later)
    assert outcomes(verdict) == [Outcome.UNTRUSTED]
    assert f"signed with {digest.upper()}" in verdict.problems[0].detail


# Age


def test_a_renewal_with_the_same_key_passes() -> None:
    """Newer than what is served, and what is served itself."""
    renewed = site(not_before=NOW - timedelta(hours=1), not_after=NOW + 30 * DAY)
    assert look([renewed.der, BETWEEN.der], served=describe(SITE.der)).chain
    assert look(FULL, served=describe(SITE.der)).chain


def test_an_older_certificate_from_a_stale_replica_is_not_newer() -> None:
    """Issued before the one served: refused with both dates, unless forced."""
    served = describe(site(not_before=NOW - timedelta(hours=1)).der)
    verdict = look(FULL, served=served)
    (problem,) = verdict.problems
    assert problem.outcome is Outcome.NOT_NEWER
    assert f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}" in problem.detail
    assert f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}" in problem.detail
    assert "--force" in problem.hint
    assert look(FULL, served=served, force=True).chain


def test_of_the_same_age_the_one_that_lasts_longer_wins() -> None:
    """not_before decides first, then not_after."""
    shorter, longer = site(not_after=NOW + 80 * DAY), site(not_after=NOW + 100 * DAY)
    served = describe(SITE.der)
    assert outcomes(look([shorter.der, BETWEEN.der], served=served)) == [Outcome.NOT_NEWER]
    assert look([longer.der, BETWEEN.der], served=served).chain


def test_a_new_key_starts_a_new_life() -> None:
    """What is served on another key does not make ours older."""
    served = describe(site(key=rsa_key(2), not_before=NOW).der)
    assert look(FULL, served=served).chain


# All of it


def test_a_verdict_names_all_that_is_wrong_by_weight() -> None:
    """Key, dates, chain, form and age of one bad certificate, the heaviest first."""
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    bad = site(extensions=[client], not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    verdict = look([bad.der], served=describe(SITE.der))
    expected = [Outcome.EXPIRED, Outcome.BROKEN_CHAIN, Outcome.UNTRUSTED, Outcome.NOT_NEWER]
    assert outcomes(verdict) == expected
    stranger = site(extensions=[client], key=rsa_key(2), not_after=NOW - timedelta(hours=1))
    assert outcomes(look([stranger.der])) == [Outcome.KEY_MISMATCH, *expected[:3]]
    assert all(re.fullmatch(r"[^\n]+", problem.detail) for problem in verdict.problems)
