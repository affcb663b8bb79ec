"""What a certificate says of itself, odd ones included."""

from __future__ import annotations

import contextlib
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.core.model import KeyType, Outcome, Refused, Verdict
from entrypoint.core.x509.certificate import describe
from tests.core.x509.vetting import (
    ADDRESS,
    BETWEEN,
    DAY,
    FULL,
    OPENSSL,
    ROOT,
    SITE,
    look,
    needs_openssl,
    outcomes,
    site,
)
from tests.support.pki import NOW, ec_key, issue, key_of


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
