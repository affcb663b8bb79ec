"""Text from elsewhere, escaped wherever a person sees it: in certificates, logs and at terminals."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import log
from entrypoint.core import terminal
from entrypoint.core.shown import all_shown, shown
from entrypoint.core.x509.certificate import describe
from tests.support.pki import issue, root

ODD = {
    "a\x1b[2Jb": r"a\x1b[2Jb",
    "a\x9b2Jb": r"a\x9b2Jb",
    "a\x07\x7fb": r"a\x07\x7fb",
    "a\nb\r\tc": r"a\x0ab\x0d\x09c",
    "a\u202eb": r"a\u202eb",
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "a\u200bb\ufeff": r"a\u200bb\ufeff",
    "a\u2028b": r"a\u2028b",
    "a\ud800\udc80b": r"a\ud800\x80b",
    "a\U000e0001b": r"a\U000e0001b",
    "Größe 日本 😀": "Größe 日本 😀",
}


@pytest.mark.parametrize("text", ODD)
def test_what_is_not_printable_is_escaped(text: str) -> None:
    """Control characters, direction marks, what has no width, surrogates; nothing else."""
    assert shown(text, lines=False) == ODD[text]
    assert all_shown({"a": [text, 1, None], "b": {text: text}}, lines=False) == {
        "a": [ODD[text], 1, None],
        "b": {ODD[text]: ODD[text]},
    }


@given(st.text(alphabet=st.characters(codec=None)))
def test_all_of_it(text: str) -> None:
    """Whatever comes in, what comes out is printable, can be encoded, and stays as it is."""
    found = shown(text, lines=False)
    assert found.isprintable()
    assert found.encode().decode() == found
    assert shown(found) == found
    assert shown(text).replace("\n", "") == shown(text.replace("\n", ""))


@pytest.mark.parametrize("text", [text for text in ODD if "\ud800" not in text])
def test_a_certificate_s_texts(text: str) -> None:
    """Subject, issuer and names."""
    info = describe(issue(text, root(text)).der)
    assert all(each.isprintable() for each in (info.subject, info.issuer, *info.names))


def _logged(formatter: logging.Formatter, text: str) -> str:
    record = logging.LogRecord("certfront", logging.INFO, "", 0, "name: %s", (text,), None)
    assert log._shown(record)
    return formatter.format(record)


@pytest.mark.parametrize("text", ODD)
def test_the_log(text: str) -> None:
    """As text and as JSON; no text begins a line of its own."""
    found = shown(text)
    assert _logged(log._Text(), text).endswith("name: " + found.replace("\n", "\n  "))
    assert json.loads(_logged(log._Json(), text))["message"] == f"name: {found}"
    assert _logged(log._Json(), text).isprintable()


@pytest.mark.parametrize("text", ODD)
def test_the_status_at_a_terminal(text: str) -> None:
    """Whatever the status holds: names, reasons, hints, places."""
    words = ("name", "outcome", "detail", "hint", "issuer", "certmgr", "source", "serial", "fingerprint_sha256")
    times = dict.fromkeys(("not_before", "not_after", "last_checked_at", "last_changed_at", "next_check_at"), "now")
    entry: dict[str, Any] = {**dict.fromkeys(words, text), **times, "names": [text]}
    entry |= {"key_type": "rsa", "state": "serving", "days_left": 1.0}
    configuration = {"problem": text, "commented_out": [{"where": text, "reason": text}]}
    status = {
        "nginx": {},
        "generation": 1,
        "updated_at": "now",
        "certificates": [entry],
        "configuration": configuration,
    }
    assert all(line.isprintable() for line in terminal.overview(status).split("\n"))
    assert terminal.overview(status).count("\n") == terminal.overview(all_shown(status, lines=False)).count("\n")
    assert ODD[text] in terminal.certificate(entry)
