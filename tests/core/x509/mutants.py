"""Mutants of certificates: bits and bytes, and the tree of DER values behind them, changed at the wish of a seed.

A mutant of the tree has lengths that fit, so that a reader gets to what was changed; many are signed anew.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.support.pki import PrivateKey

_ODD_CONTENTS = (
    *(b"", b"\0", b"\xff" * 9, b"\x80", b"\0" * 40, b"\x7f" * 300, b"00000101000000Z", b"99991231235959Z"),
    *(
        b"000101000000Z",
        b"500229000000Z",
        b"20260230000000Z",
        "\u202ename".encode(),
        b"\xd8\x00\xdc\x00",
        b"a\x1b[2J\n",
    ),
    *(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", b"\x2b\x65\x70", b"\x30\0", b"\x05\0", b"\x06\x03\x55\x1d\x13"),
)
_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x16, 0x17, 0x18, 0x1E, 0x30, 0x31, 0x80, 0x82, 0xA0, 0xA3)


@dataclass(frozen=True)
class Node:
    """A DER value: its tag and its content, or the values inside, behind ``lead`` (a BIT STRING's first byte)."""

    tag: int
    content: bytes = b""
    inside: tuple[Node, ...] | None = None
    lead: bytes = b""

    def der(self) -> bytes:
        content = self.content if self.inside is None else self.lead + b"".join(node.der() for node in self.inside)
        return bytes([self.tag]) + _length(len(content)) + content


_PSS = bytes.fromhex("06092a864886f70d01010a")
_ODD_VALUES = (  # in the right place these are read late, and raise
    *(Node(0x18, b"00000101000000Z"), Node(0x18, b"99991231235959Z"), Node(0x17, b"500101000000Z"), Node(0x18, b"")),
    *(Node(0x30, _PSS), Node(0x30, _PSS + b"\x05\0"), Node(0x30, _PSS + b"\x30\0"), Node(0x1E, b"\xd8\0\xdc\0")),
    *(Node(0x30, b"\x06\x03\x2b\x65\x70"), Node(0x1E, b"\xd8\0"), Node(0x0C, "\u202e".encode()), Node(0x02, b"\x80")),
)


def parse(der: bytes) -> tuple[Node, ...] | None:
    """The values in a row that ``der`` consists of; None where it is none. Octet strings are looked into."""
    found: list[Node] = []
    while der:
        if len(der) < 2 or (der[1] > 0x80 and len(der) < 2 + der[1] - 0x80):
            return None
        more = der[1] - 0x80 if der[1] > 0x80 else 0
        size = int.from_bytes(der[2 : 2 + more], "big") if more else der[1]
        content, rest = der[2 + more : 2 + more + size], der[2 + more + size :]
        if len(content) < size:
            return None
        found.append(_node(der[0], content))
        der = rest
    return tuple(found)


def _node(tag: int, content: bytes) -> Node:
    lead = b"\0" if tag == 0x03 else b""
    looked_into = tag & 0x20 or (tag in (0x03, 0x04) and content.startswith(lead + b"\x30"))
    inside = parse(content[len(lead) :]) if looked_into else None
    return Node(tag, content) if inside is None else Node(tag, b"", inside, lead)


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


class Mutator:
    """Changes one certificate after the other; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def mutant(self, der: bytes, signer: PrivateKey) -> bytes:
        """The certificate with one to three changes; one of its tree may be signed anew by its issuer's key."""
        times = self.random.choice((1, 1, 1, 2, 3))
        if self.random.random() < 0.3:
            return self._bytes(der, times)
        (tree,) = parse(der) or ()
        for _ in range(times):
            tree = self._tree(tree)
        return _signed(tree, signer) if self.random.random() < 0.7 else tree.der()

    def _bytes(self, der: bytes, times: int) -> bytes:
        found = bytearray(der)
        for _ in range(times):
            place = self.random.randrange(len(found) or 1)
            kind = self.random.randrange(5)
            if kind in (0, 1) and not found:
                continue
            if kind == 0:
                found[place] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                found[place] = self.random.randrange(256)
            elif kind == 2:
                del found[place : place + self.random.choice((1, 1, 2, 9))]
            elif kind == 3:
                found[place:place] = self.random.randbytes(self.random.choice((1, 1, 2, 9)))
            else:
                found = found[: place + 1] if self.random.random() < 0.2 else found + found[place:]
        return bytes(found)

    def _tree(self, node: Node) -> Node:
        """The tree with one value in it changed, each level being as likely as the next."""
        if node.inside and self.random.random() < 0.9:
            place = self.random.randrange(len(node.inside))
            if self.random.random() < 0.85:
                return replace(node, inside=_with(node.inside, place, self._tree(node.inside[place])))
            return replace(node, inside=self._row(node.inside, place))
        return self._value(node)

    def _row(self, row: tuple[Node, ...], place: int) -> tuple[Node, ...]:
        """One value of a row left out, doubled, moved to another place or exchanged for another's content."""
        kind, other = self.random.randrange(4), row[self.random.randrange(len(row))]
        if kind == 0:
            return row[:place] + row[place + 1 :]
        if kind == 1:
            return (*row, row[place])
        return _with(row, place, other) if kind == 2 else (*row[:place], *row[place + 1 :], row[place])

    def _value(self, node: Node) -> Node:
        kind = self.random.randrange(5)
        if kind == 4:
            return self.random.choice(_ODD_VALUES)
        if kind == 0:
            return replace(node, tag=self.random.choice((*_TAGS, self.random.randrange(256))))
        if kind == 1:
            return Node(node.tag, self.random.choice(_ODD_CONTENTS))
        content = node.der()[2:] if node.inside is not None else node.content
        return Node(node.tag, self._bytes(content or b"\0", 1))


def _with(row: tuple[Node, ...], place: int, node: Node) -> tuple[Node, ...]:
    return (*row[:place], node, *row[place + 1 :])


def _signed(certificate: Node, signer: PrivateKey) -> bytes:
    """The certificate with a signature that holds, where it still has its three parts."""
    if not certificate.inside or len(certificate.inside) != 3:
        return certificate.der()
    signed = certificate.inside[0].der()
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(signer, ec.EllipticCurvePrivateKey):
        signature = signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    else:
        signature = signer.sign(signed)
    return replace(certificate, inside=(*certificate.inside[:2], Node(0x03, b"\0" + signature))).der()
