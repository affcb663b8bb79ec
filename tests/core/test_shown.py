"""What is not UTF-8 is escaped on its way to people, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core import status
from entrypoint.core.model import Outcome, Problem
from entrypoint.core.shown import all_shown, shown
from entrypoint.core.status import Record

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("Größe 漢字 \U0001f512".encode(), "Größe 漢字 \U0001f512"),
        (b"gr\xf6\xdfe.pem", r"gr\xf6\xdfe.pem"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"\xc3", r"\xc3"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\x80 \\xff", r"\x80 \xff"),
    ],
)
def test_bytes(data: bytes, text: str) -> None:
    """Latin-1, a cut character and a surrogate's own bytes come out as escapes; all scripts stay as they are."""
    assert shown(data.decode(errors="surrogateescape")) == text


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """Whatever a file's name is, every encoder takes what is shown of it."""
    found = shown(data.decode(errors="surrogateescape"))
    found.encode()
    assert shown(found) == found


def test_a_lone_surrogate() -> None:
    """Which only JSON of somebody else's could bring in."""
    assert shown("\ud800") == r"\ud800"


def test_all_of_a_status() -> None:
    """In every place that comes from the user's files, and as reason of `readyz`."""
    odd = "gr\udcf6\udcdfe"
    problem = Problem(Outcome.KEY_MISSING, f"there is no key file {odd}", odd)
    record = status.checked(Record(odd, (odd,)), problem, Outcome.UNCHANGED, NOW)
    commented_out = {f"/etc/{odd}.conf:1": odd}
    found = status.status(
        [record],
        generation=1,
        nginx={},
        now=NOW,
        interval=1,
        commented_out=commented_out,
        warnings=[(odd, odd)],
        problem=problem,
    )
    text = json.dumps(found, ensure_ascii=False)
    text.encode()
    assert text.count(r"gr\\xf6\\xdfe") == 9
    assert r"gr\xf6\xdfe" in status.not_ready([record])


def test_other_values() -> None:
    """Numbers and nothing stay what they are."""
    assert all_shown({"a\udcff": (1, None, True, ["\udc80"], 1.5)}) == {r"a\xff": [1, None, True, [r"\x80"], 1.5]}
