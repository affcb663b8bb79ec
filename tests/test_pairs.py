"""The managed pairs: which there are, what of them stays known, and what the log says of their checks."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from entrypoint.core.generation.managed import Found
from entrypoint.core.model import Outcome, Problem
from entrypoint.core.settings import Settings
from entrypoint.edges.generations import Generations
from entrypoint.pairs import Pairs
from tests.support import pki, rig

CA = pki.root()
KEY = pki.ec_key(81)
SITE = rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEY), CA)
NEXT = rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEY), CA)
AWAY = Problem(Outcome.UNREACHABLE, "refused")
SERVER = "server {{ listen 8443 ssl; server_name {0}; ssl_certificate {0}.crt; ssl_certificate_key {0}.key; }}\n"


def _pairs(settings: Settings) -> Pairs:
    return Pairs(settings, Generations(settings.state_dir), rig.config_files(settings))


def _write(settings: Settings, *names: str) -> None:
    servers = "".join(map(SERVER.format, names))
    settings.nginx_conf.write_text(f"events {{ }}\nhttp {{\n{servers}}}\n")


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    """The built-in site, which a generation serves."""
    settings = rig.settings(tmp_path)
    rig.stage(Generations(settings.state_dir), rig.plan(settings, SITE))
    return settings


@pytest.fixture
def users(tmp_path: Path) -> Settings:
    """A configuration of the user's alone."""
    settings = rig.settings(tmp_path, SERVER_NAME=None, KEY_FILE=None)
    _write(settings, "a.io", "b.io")
    return settings


def test_what_a_generation_has(site: Settings) -> None:
    """It is served from the beginning, until it is doubted; and known anew after a way back."""
    pairs = _pairs(site)
    (pair,) = pairs.managed
    assert (pair.running, pair.record.served) == (SITE, SITE.leaf)
    pairs.doubt()
    assert (pair.running, pair.record.served) == (SITE, None)
    rig.stage(pairs.generations, rig.plan(site, NEXT))
    pairs.restore()
    assert [each.running for each in pairs.managed] == [NEXT]


def test_what_is_known_stays_known(users: Settings) -> None:
    """A change of the configuration leaves the pairs that it does not concern as they are."""
    pairs = _pairs(users)
    one, two = pairs.managed
    assert not pairs.refresh()
    _write(users, "b.io", "c.io")
    assert pairs.refresh()
    assert pairs.managed[0] is two
    assert pairs.managed[1] is not one
    assert [pair.record.name for pair in pairs.managed] == ["b.io", "c.io"]
    own = {"key.pem", "ssl_pw.txt"}
    assert {path.name for path in pairs.watched} == own | {"b.io.key", "b.io.crt", "c.io.key", "c.io.crt"}


def test_a_configuration_that_cannot_be_read(users: Settings) -> None:
    """Its pairs stay as they were, with the problem, until it can be read again."""
    pairs = _pairs(users)
    users.nginx_conf.unlink()
    users.nginx_conf.mkdir()
    assert pairs.refresh()
    assert pairs.problem
    assert [pair.record.name for pair in pairs.managed] == ["a.io", "b.io"]
    assert "it has not been taken up yet" in pairs.not_running(None)
    assert pairs.not_running(AWAY).endswith("runs: refused")
    users.nginx_conf.rmdir()
    _write(users, "a.io", "b.io")
    assert pairs.refresh()
    assert not pairs.problem


def test_several_are_checked_together(users: Settings) -> None:
    """One of several comes early, to be one cycle with others; a single one does not."""
    for names, due in ((["a.io", "b.io"], True), (["a.io"], False)):
        _write(users, *names)
        pairs = _pairs(users)
        for pair in pairs.managed:
            assert pairs.is_due(pair, pki.NOW)
            pairs.note_check(pair, Found(None, None), None, pki.NOW)
            assert not pairs.is_due(pair, pki.NOW)
            assert pair.record.next_check_at
            early = pair.record.next_check_at - timedelta(seconds=users.check_interval * 0.04)
            assert pairs.is_due(pair, early) == due


def test_a_plan_that_is_live(site: Settings) -> None:
    """Its pairs are live, with what no handshake proves of them."""
    pairs = _pairs(site)
    (pair,) = pairs.managed
    pairs.note_live(rig.plan(site, NEXT), {pair.identity: Found(NEXT, None)})
    pairs.note_unproved({pair.identity: "no handshake is completed", "another": "x"})
    assert (pair.running, pair.served, pair.unproved) == (NEXT, True, "no handshake is completed")
    pairs.note_live(rig.plan(site), {})
    pairs.note_unproved({})
    assert (pair.running, pair.served, pair.unproved) == (None, False, "")


def test_what_the_log_says(site: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A failure once; nothing where all of the configuration is refused, which is said already."""
    pairs = _pairs(site)
    (pair,) = pairs.managed
    refused = Problem(Outcome.CONFIG_REJECTED, "no")
    with caplog.at_level(logging.INFO):
        pairs.note_check(pair, Found(NEXT, None), refused, pki.NOW, said=True)
        assert not caplog.records
        for _ in range(2):
            pairs.note_check(pair, Found(pair.kept, AWAY), refused, pki.NOW, said=True)
    (line,) = caplog.records
    assert (line.levelname, line.name) == ("WARNING", "certfront")
    assert line.getMessage().startswith(f"{rig.NAME}: unreachable: refused\n  served: {rig.NAME}")


def test_passwords(users: Settings) -> None:
    """Those of the keys as they are now come first; pairs without any have none."""
    pairs = _pairs(users)
    assert pairs.passwords() == []
    for pair, password in zip(pairs.managed, (b"one", None), strict=True):
        key = pki.key_of(KEY, password=password)
        pair.current_key("contents", lambda key=key: key)  # type: ignore[misc]
    assert pairs.passwords() == [b"one"]
    pairs.managed = []
    assert pairs.passwords() == []
