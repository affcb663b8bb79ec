"""A site with its chain and key, and the verdict on what may be presented for it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from entrypoint.core.model import Outcome, Verdict
from entrypoint.core.x509.vet import vet
from tests.support.pki import NOW, Issued, ec_key, issue, key_of, root, rsa_key

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
