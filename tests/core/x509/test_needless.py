"""Links out of their dates that a chain does not need are left out; those that it needs are named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from entrypoint.core.model import Outcome, Verdict
from entrypoint.core.x509.vet import vet
from tests.support.pki import NOW, Issued, cross_sign, ec_key, issue, key_of, root

DAY = timedelta(days=1)
KEY = ec_key(1)
OLDER, OLDEST = (root(name, not_before=NOW - 999 * DAY, not_after=NOW - DAY) for name in ("Older", "Oldest"))
ROOT = root("Root", not_before=NOW - 99 * DAY)
BETWEEN = issue("Issuing CA", ROOT, ca=True)
SITE = issue("www.acme.io", BETWEEN, names=["www.acme.io"], key=KEY)
DIRECT = issue("www.acme.io", ROOT, names=["www.acme.io"], key=KEY)
# The root as others vouched for it, as DST Root CA X3 did for ISRG Root X1, and AddTrust for USERTrust.
PAST = {"not_before": NOW - 99 * DAY, "not_after": NOW - timedelta(hours=1)}
CROSSED = cross_sign(ROOT, OLDER, **PAST)
EARLY = cross_sign(ROOT, OLDER, not_before=NOW + DAY)
TWICE = cross_sign(OLDER, OLDEST, **PAST)
CROSSED_ISSUER = cross_sign(BETWEEN, OLDER, **PAST)

Case = tuple[Sequence[Issued], Sequence[Issued] | None, Sequence[Issued]]
DROPPED: dict[str, Case] = {
    "above a living issuer": ((SITE, BETWEEN, CROSSED), None, (SITE, BETWEEN)),
    "with the expired root above it": ((SITE, BETWEEN, CROSSED, OLDER), None, (SITE, BETWEEN)),
    "in any order": ((CROSSED, OLDER, SITE, BETWEEN), None, (SITE, BETWEEN)),
    "two in a row": ((SITE, BETWEEN, CROSSED, TWICE, OLDEST), None, (SITE, BETWEEN)),
    "beside the root itself": ((SITE, BETWEEN, CROSSED, ROOT), None, (SITE, BETWEEN)),
    "beside the root itself, no other issuer": ((DIRECT, CROSSED, ROOT), None, (DIRECT,)),
    "beside a living issue of the same CA": ((SITE, CROSSED_ISSUER, BETWEEN), None, (SITE, BETWEEN)),
    "not valid yet": ((SITE, BETWEEN, EARLY), None, (SITE, BETWEEN)),
    "above a living issuer, its root trusted": ((SITE, BETWEEN, CROSSED), (ROOT,), (SITE, BETWEEN)),
    "the only issuer, its root trusted": ((DIRECT, CROSSED), (ROOT,), (DIRECT,)),
    "above a living issuer, which is trusted": ((SITE, BETWEEN, CROSSED), (BETWEEN,), (SITE, BETWEEN)),
    "both roots trusted": ((SITE, BETWEEN, CROSSED, OLDER), (OLDER, ROOT), (SITE, BETWEEN)),
}
NEEDED: dict[str, Case] = {
    "the only issuer": ((DIRECT, CROSSED), None, ()),
    "the only issuer, with what is above it": ((DIRECT, CROSSED, OLDER), None, ()),
    "the way to the only root that is trusted": ((SITE, BETWEEN, CROSSED), (OLDER,), ()),
    "the only issuer, another issue of a trusted one's": ((SITE, CROSSED_ISSUER), (ROOT,), ()),
}


def _look(case: Case) -> Verdict:
    certs, roots, _ = case
    trusted = None if roots is None else [each.cert for each in roots]
    return vet([each.der for each in certs], key=key_of(KEY), wanted=["www.acme.io"], now=NOW, roots=trusted)


@pytest.mark.parametrize("kind", DROPPED)
def test_a_needless_link_is_left_out(kind: str) -> None:
    """The chain ends below it, as public chains may end below their root; with roots it still leads to one."""
    verdict = _look(DROPPED[kind])
    assert verdict.problems == ()
    assert verdict.chain
    assert verdict.chain.ders == tuple(each.der for each in DROPPED[kind][2])


@pytest.mark.parametrize("kind", NEEDED)
def test_a_link_that_is_needed_is_named(kind: str) -> None:
    """Expired is what it is, first of all."""
    verdict = _look(NEEDED[kind])
    assert verdict.problems[0].outcome is Outcome.EXPIRED
    assert "the intermediate CN=" in verdict.problems[0].detail


def test_an_expired_leaf_is_the_only_thing_that_is_said() -> None:
    """Whatever else above it is needless."""
    old = issue("www.acme.io", BETWEEN, names=["www.acme.io"], key=KEY, not_after=NOW - timedelta(minutes=1))
    (problem,) = _look(((old, BETWEEN, CROSSED), None, ())).problems
    assert problem.outcome is Outcome.EXPIRED
    assert problem.detail.startswith("the certificate has expired")
