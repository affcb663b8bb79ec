"""What vetting says of every chain that CertMgr, or somebody in its place, may send."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from entrypoint.core.model import Outcome
from entrypoint.core.x509.certificate import describe
from tests.core.x509.vetting import (
    BETWEEN,
    DAY,
    FULL,
    OPENSSL,
    ROOT,
    SERVED,
    SITE,
    SITE_KEY,
    chain,
    look,
    needs_openssl,
    outcomes,
    site,
)
from tests.support.pki import NOW, Issued, ec_key, issue, key_of, key_pem, root, rsa_key

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
    """Issued before the one served: refused with both dates."""
    served = describe(site(not_before=NOW - timedelta(hours=1)).der)
    verdict = look(FULL, served=served)
    (problem,) = verdict.problems
    assert problem.outcome is Outcome.NOT_NEWER
    assert f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}" in problem.detail
    assert f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}" in problem.detail
    assert "--force" in problem.hint
    assert look(FULL).chain


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
