"""Which keys count as given, and as used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.doubts import Doubts
from entrypoint.environment import from_environment
from tests.core.generation.test_rewrite import source

KEY = "/etc/nginx/key.pem"


def _doubts(user: UserConfig | None = None, **environment: str) -> Doubts:
    doubts = Doubts(from_environment(environment))
    doubts.consider(user or source(""), certificates=False)
    return doubts


@pytest.mark.parametrize(
    ("text", "used"),
    [
        (f"http {{ server {{ listen 443 ssl; ssl_certificate_key {KEY}; ssl_certificate a; }} }}", True),
        ("http { server { listen 443 ssl; ssl_certificate_key key.pem; ssl_certificate a; } }", True),
        ("http { ssl_certificate_key ../nginx/key.pem; ssl_certificate a; }", True),
        ("stream { server { listen 443 ssl; ssl_certificate_key key.pem; ssl_certificate a; } }", True),
        ("http { server { # certfront: off\n listen 443 ssl; ssl_certificate_key key.pem; } }", True),
        ("http { server { location / { proxy_ssl_certificate_key key.pem; } } }", True),
        ("http { server { listen 443 ssl; ssl_certificate_key other.pem; ssl_certificate key.pem; } }", False),
        ("http { server { listen 80; } }", False),
        ("", False),
    ],
)
def test_used(text: str, used: bool) -> None:
    """A key is used by whatever names it, wherever; with SERVER_NAME the built-in site uses it."""
    assert ("KEY_FILE" not in _doubts(source(text), KEY_FILE=KEY).not_ready) is used
    assert _doubts(source(text), KEY_FILE=KEY, SERVER_NAME="a.io").not_ready == ""


def test_given(tmp_path: Path) -> None:
    """KEY_FILE says so, or something lies at the default path; two keys are named both."""
    assert "/a and /b: a key was given" in _doubts(KEY_FILE="/a,/b").not_ready
    for there in (False, True):
        settings = replace(from_environment({}), key_files=(tmp_path / "key.pem",))
        if there:
            (tmp_path / "key.pem").mkdir()  # as an engine makes it where the host has no such file
        doubts = Doubts(settings)
        doubts.consider(source(""), certificates=False)
        assert bool(doubts.not_ready) is there


def test_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A doubt is logged when it comes up, not with every look; a variable's value is nobody's business."""
    doubts = Doubts(from_environment({"KEY_FILE": KEY}), (("KEY_PASSWORD", "KEY_PASSWORD_FILE"),))
    for user in (source(""), source(""), source("http { }"), source("")):
        doubts.consider(user, certificates=False)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["KEY_PASSWORD", "KEY_FILE"]
