"""Trusted roots: from a file or from the system, or a refusal that says why there are none."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import roots
from tests.support import pki


def test_file(tmp_path: Path) -> None:
    """All certificates of a PEM file, comments passed over."""
    path, both = tmp_path / "roots.pem", [pki.root("One"), pki.root("Two")]
    path.write_bytes(b"# One\n" + both[0].pem + b"\n# Two\n" + both[1].pem)
    assert roots.load(str(path)) == [each.cert for each in both]


def test_system() -> None:
    """`system` is what this machine trusts."""
    if not Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("this machine has no trusted roots")
    assert len(roots.load("system")) > 50


@pytest.mark.parametrize(
    "content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_none(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing, empty or damaged is refused by its name, with a hint."""
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refused) as caught:
        roots.load(str(path))
    assert caught.value.problem.outcome is Outcome.UNTRUSTED
    assert f"TRUSTED_ROOTS_FILE: {path}: " in caught.value.problem.detail
    assert "PEM" in caught.value.problem.hint


def test_one_that_does_not_parse(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, and said once; the others are trusted as before."""
    path, good = tmp_path / "roots.pem", pki.root("Good")
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + good.pem)
    assert [roots.load(str(path)) for _ in range(2)] == [[good.cert]] * 2
    assert caplog.text.count("left out") == 1
