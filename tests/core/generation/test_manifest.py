"""Manifests as a damaged disk may hold them: what is not as it should be is absent, and nothing raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.x509 import credential

PAIR = {"chain_file": "certs/a/chain-1.pem", "key_file": "certs/a/key-1.pem", "names": ["a.io"]}
GOOD = {  # as the version before wrote it
    "generation": 7,
    "created_at": "2026-01-01T00:00:00Z",
    "why": "first start",
    "source": "/etc/nginx/nginx.conf",
    "digest": "d",
    "pairs": {"site-1": {**PAIR, "presented": True, "installed_at": "2026-01-01T00:00:00Z", "source": "certmgr"}},
    "commented_out": {"/etc/nginx/a.conf:1": "no"},
    "gates": {
        "servers": [["/etc/nginx/a.conf", 17, "no"]],
        "files": {"/etc/nginx/b.conf": "no"},
        "settings": [["/etc/nginx/a.conf", 40, "no"]],
    },
    "password_file": "/run/certfront/passwords/1.txt",
    "unlocked": [],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*GOOD, *PAIR]), inner),
    max_leaves=20,
)


def _read(value: object) -> Manifest:
    return Manifest.read(json.dumps(value).encode())


def test_a_good_one() -> None:
    """It is what was written; members of other versions do no harm."""
    assert json.loads(_read(GOOD).text()) == GOOD
    assert _read({**GOOD, "later": [1]}) == _read(GOOD)
    assert _read({}) == Manifest()
    assert Manifest.read(_read(GOOD).text()) == _read(GOOD)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 500, b"[]", b"null", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 9000]
)
def test_none(data: bytes) -> None:
    """What is no JSON object is a ValueError, however deep it is."""
    with pytest.raises(ValueError, match=r".*"):
        Manifest.read(data)


@pytest.mark.parametrize("pairs", [None, 7, [], "site-1", {"site-1": None}, {"site-1": {}}, {"site-1": []}])
def test_no_pairs(pairs: object) -> None:
    """Pairs of another type are none."""
    assert _read({"pairs": pairs}).pairs == {}


ODD: dict[str, tuple[list[object], bool]] = {  # values, and whether there is a pair all the same
    "chain_file": (["", "/etc/shadow", "../x", "certs/../../x", "a//b", "./a", "a\0b", 7], False),
    "key_file": (["..", "certs/a/../key", None, ["certs/a/key"]], False),
    "names": (["a.io", None, [1], {"a.io": 1}, ["\ud800"]], True),
    "installed_at": (["yesterday", "2026-01-01T00:00:00", 1767225600, None, []], True),
    "presented": (["yes", 1, None], True),
    "certmgr": ([7, None, "\udcff", {}], True),
}


@pytest.mark.parametrize(("member", "value"), [(member, value) for member, odd in ODD.items() for value in odd[0]])
def test_a_pair(member: str, value: object) -> None:
    """A pair without files below its generation is none; what else is odd of it is absent, or empty."""
    found = _read({"pairs": {"site-1": {**PAIR, member: value}}}).pairs
    assert ("site-1" in found) == ODD[member][1]
    for pair in found.values():
        known = credential.stored(pair.facts, b"", b"")
        assert pair.presented
        assert known.leaf.names == (() if member == "names" else ("a.io",))
        assert (known.certmgr, known.installed_at) == ("", None)


@pytest.mark.parametrize(
    "gates",
    [None, 1, [], {"servers": {}}, {"servers": [["f", "1", "r"], ["f"], 3], "files": [1]}, {"settings": [3, ["f"]]}],
)
def test_gates(gates: object) -> None:
    """Of gates, what is none is left out."""
    assert _read({"gates": gates}).refusals == Refusals()


@given(JSON)
def test_anything(value: object) -> None:
    """Whatever the members are, what is read has the types that its readers count on."""
    found = _read({**GOOD, **value}) if isinstance(value, dict) else _read({"pairs": value, "gates": value})
    for pair in found.pairs.values():
        assert not pair.chain_file.startswith("/")
        assert all(isinstance(name, str) for name in credential.stored(pair.facts, b"", b"").leaf.names)
    assert all(isinstance(text, str) for text in (found.digest, found.source, found.password_file, *found.unlocked))
    assert Manifest.read(found.text()) == found
