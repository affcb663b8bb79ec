"""Certificates with a field that is read late, and raises then: each is malformed, and never more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509.certificate import describe
from entrypoint.core.x509.chain import arranged
from entrypoint.core.x509.vet import vet
from tests.core.x509.mutants import Node, parse
from tests.support.pki import NOW, Issued, ec_key, issue, key_of, root

ROOT = root("Root")
BETWEEN = issue("Issuing CA", ROOT, ca=True)
KEY = ec_key(1)
SITE = issue("www.acme.io", BETWEEN, names=["www.acme.io"], key=KEY)
_PSS = bytes.fromhex("06092a864886f70d01010a")
_YEAR_0 = Node(0x18, b"00000101000000Z")

# What takes the place of a value in TBSCertificate (RFC 5280, section 4.1), by its path through the tree.
ODD: dict[str, dict[tuple[int, ...], Node]] = {
    "PSS without parameters": {(0, 2): Node(0x30, _PSS), (1,): Node(0x30, _PSS)},
    "PSS with NULL": {(0, 2): Node(0x30, _PSS + b"\x05\0"), (1,): Node(0x30, _PSS + b"\x05\0")},
    "PSS with garbage": {(0, 2): Node(0x30, _PSS + b"\x30\3\1\1\1"), (1,): Node(0x30, _PSS + b"\x30\3\1\1\1")},
    "from year 0": {(0, 4, 0): _YEAR_0},
    "until year 0": {(0, 4, 1): _YEAR_0},
    "until the 30th of February": {(0, 4, 1): Node(0x17, b"270230000000Z")},
    "a point that is not on the curve": {(0, 6, 1): Node(0x03, b"\0\4" + b"\1" * 64)},
    "a name that is not UTF-16": {(0, 5, 0, 0, 1): Node(0x1E, b"\xd8\0")},
    "a serial number without digits": {(0, 1): Node(0x02, b"")},
}


def _with(node: Node, path: tuple[int, ...], value: Node) -> Node:
    if not path:
        return value
    inside = list(node.inside or ())
    inside[path[0]] = _with(inside[path[0]], path[1:], value)
    return replace(node, inside=tuple(inside))


def odd(issued: Issued, kind: str) -> bytes:
    (tree,) = parse(issued.der) or ()
    for path, value in ODD[kind].items():
        tree = _with(tree, path, value)
    assert tree.der() != issued.der
    return tree.der()


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_leaf_or_issuer_is_malformed(kind: str) -> None:
    """The verdict says so first, in a sentence on one line; nothing raises."""
    for place in (0, 1):
        ders = [SITE.der, BETWEEN.der, ROOT.der]
        ders[place] = odd((SITE, BETWEEN)[place], kind)
        for roots in (None, [ROOT.cert]):
            verdict = vet(ders, key=key_of(KEY), wanted=["www.acme.io"], now=NOW, roots=roots)
            assert verdict.chain is None
            assert verdict.problems[0].outcome is Outcome.MALFORMED
            assert verdict.problems[0].detail.isprintable()
        with pytest.raises(Refused):
            describe(ders[place])


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_stranger_beside_a_whole_chain_does_not_matter(kind: str) -> None:
    """It is left out, and `certfront fetch` shows the chain without it."""
    ders = [SITE.der, odd(issue("Stranger", ROOT, ca=True), kind), BETWEEN.der, ROOT.der]
    verdict = vet(ders, key=key_of(KEY), wanted=["www.acme.io"], now=NOW)
    assert verdict.chain
    assert verdict.chain.ders == (SITE.der, BETWEEN.der)
    assert arranged(ders) == (SITE.der, BETWEEN.der, ROOT.der)
