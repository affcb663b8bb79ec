"""The agent's cycle with a clock of our own: what passes in months is shown in seconds."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from entrypoint import agent as agent_module
from entrypoint import plans, rollout
from entrypoint.agent import Agent
from entrypoint.check import check
from entrypoint.core.model import KeyType, Outcome
from entrypoint.core.settings import Settings
from entrypoint.core.x509.certificate import describe
from entrypoint.demo import pki as demo
from entrypoint.demo.standin import Credential
from entrypoint.edges import nginx
from entrypoint.edges.generations import Generations
from entrypoint.events import Request
from tests.support import pki, rig
from tests.support.certmgr import FaultyCertMgr

CA = pki.root()
KEY = pki.ec_key(61)
NOW = pki.NOW
DAY = timedelta(days=1)
SITE = pki.issue(
    rig.NAME, CA, names=[rig.NAME], key=KEY, not_before=NOW - 60 * DAY, not_after=NOW + 33 * DAY
)  # fmt: skip


class Life:
    """An agent on a state folder in which generation 1 serves SITE. No NGINX runs: nothing here may need one."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.now, self.passed = settings, NOW, timedelta()
        settings.key_files[0].write_bytes(pki.key_pem(KEY))
        settings.key_files[0].chmod(0o600)
        self.generations = Generations(settings.state_dir)
        rig.stage(self.generations, rig.plan(settings, rig.usable(SITE)))
        self.agent = self.restarted()

    def restarted(self) -> Agent:
        self.agent = Agent(self.settings, rig.NEW, rig.facts(), lambda: self.now, monotonic=self.rested)
        self.agent.publisher.files.prepare()
        return self.agent

    def rested(self) -> float:
        return self.passed.total_seconds()

    def cycle(self, *requests: Request) -> dict[str, Any]:
        """One cycle; returns what the published status says of the certificate."""
        asyncio.run(self.agent._guarded_cycle(list(requests)))
        status = self.agent.publisher.files.read()
        assert status is not None
        assert status["updated_at"] == f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        entry = status["certificates"][0]
        assert isinstance(entry, dict)
        return entry

    def next_check(self) -> datetime:
        found = self.agent.pairs.managed[0].record.next_check_at
        assert found is not None
        return found

    def disk(self) -> dict[str, bytes]:
        """All that is in the state folder."""
        files = (path for path in sorted(self.settings.state_dir.rglob("*")) if path.is_file())
        return {str(path): path.read_bytes() for path in files}


def _credential(issued: pki.Issued, name: str = rig.NAME) -> Credential:
    assert isinstance(issued.key, type(KEY))
    return Credential((name,), issued.key, (issued.cert, CA.cert))


@pytest.fixture
def certmgr() -> Iterator[FaultyCertMgr]:
    default = demo.Authority.create("Other").issue("certmgr.acme.com", key=pki.cached_key(KeyType.ECDSA))
    with FaultyCertMgr(Credential(("certmgr.acme.com",), default.key, default.chain)) as server:
        yield server


def _life(folder: Path, certmgr: FaultyCertMgr, **variables: str) -> Life:
    host, port = certmgr.address
    return Life(rig.settings(folder, CERTMGR_HOST=f"{host}:{port}", **variables))


@pytest.fixture
def life(tmp_path: Path, certmgr: FaultyCertMgr) -> Iterator[Life]:
    found = _life(tmp_path, certmgr, CERTMGR_CHECK_INTERVAL=str(6 * 3600))
    with rig.Supervisor(found.settings.run_dir) as supervisor:
        before = found.disk()
        yield found
        assert supervisor.reloads == 0
        assert found.disk() == before


def test_a_month_without_certmgr(life: Life, certmgr: FaultyCertMgr) -> None:
    """CertMgr away for 30 days: served on, first stale, then expiring, asked once an interval, nothing written."""
    certmgr.put(_credential(SITE))
    assert life.cycle()["state"] == "serving"
    certmgr.stop()
    states, pauses = [], []
    while life.now < NOW + 30 * DAY:
        pauses.append((life.next_check() - life.now).total_seconds())
        life.now = life.next_check()
        entry = life.cycle()
        states.append(entry["state"])
        assert entry["outcome"] == "unreachable"
        assert "refused" in entry["detail"]
        assert entry["fingerprint_sha256"] == rig.usable(SITE).leaf.fingerprint_sha256
    assert list(dict.fromkeys(states)) == ["serving", "stale", "expiring"]
    assert states == sorted(states, key=["serving", "stale", "expiring"].index)
    assert max(pauses) <= 1.1 * life.settings.check_interval
    assert len(states) < 150
    certmgr.start()
    life.now = life.next_check()
    assert (life.cycle()["outcome"], life.agent.pairs.managed[0].record.failures) == ("unchanged", 0)


def test_expired_while_away(life: Life, certmgr: FaultyCertMgr) -> None:
    """A certificate that expires while CertMgr is away is said to be expired, and is served all the same."""
    certmgr.stop()
    life.now = NOW + 40 * DAY
    entry = life.cycle()
    assert (entry["state"], entry["outcome"]) == ("expired", "unreachable")
    assert entry["days_left"] < 0


@pytest.mark.parametrize("days", [-3653, -365, -61, 34, 365, 3653])
@pytest.mark.parametrize("restart", [False, True])
def test_clock_off(life: Life, certmgr: FaultyCertMgr, days: int, restart: bool) -> None:
    """With a clock that is off by days or years the good certificate stays, and all is well when it is right again."""
    certmgr.put(_credential(SITE))
    if not restart:
        assert life.cycle()["outcome"] == "unchanged"
    life.now = NOW + days * DAY
    entry = life.cycle(Request((), False, "test"))
    assert entry["outcome"] == ("expired" if days > 0 else "not-yet-valid")
    assert "clock" in entry["detail"] + entry["hint"]
    life.now = NOW + timedelta(minutes=1)
    if restart:
        life.restarted()
    entry = life.cycle()
    assert (entry["outcome"], entry["state"]) == ("unchanged", "serving")


def test_clock_set_back(life: Life, certmgr: FaultyCertMgr) -> None:
    """A clock that is set back by a year does not put off the next check by a year."""
    certmgr.put(_credential(SITE))
    life.cycle()
    life.now -= 365 * DAY
    life.cycle()
    assert len(certmgr.log) == 2


def test_idle_checks_write_nothing(life: Life, certmgr: FaultyCertMgr) -> None:
    """A hundred checks that find the same chain change nothing on disk."""
    certmgr.put(_credential(SITE))
    for _ in range(100):
        assert life.cycle()["outcome"] == "unchanged"
        life.now = life.next_check()
    assert len(certmgr.log) == 100


def test_nothing_is_due(life: Life, certmgr: FaultyCertMgr) -> None:
    """Between checks a cycle asks nobody; a request does, but only for names that are ours."""
    certmgr.put(_credential(SITE))
    life.cycle()
    life.now += timedelta(seconds=30)
    life.cycle()
    life.cycle(Request(("other.acme.io",), False, "refresh"))
    assert len(certmgr.log) == 1
    life.cycle(Request((rig.NAME,), False, "refresh"))
    life.cycle(Request((), False, "SIGHUP"))
    assert len(certmgr.log) == 3


def test_said_once(life: Life, certmgr: FaultyCertMgr, caplog: pytest.LogCaptureFixture) -> None:
    """The same refusal again is for debugging only; another one, and the recovery, are news."""
    caplog.set_level(logging.DEBUG, "certfront")
    for mode in ("imposter", "plain-http", "normal", "imposter"):
        certmgr.mode = mode
        for _ in range(3):
            life.now = life.now + DAY / 24 * 7
            life.cycle()
    told = [record.getMessage().split(": ")[1] for record in caplog.records if record.levelno >= logging.INFO]
    assert told == ["handshake-failed", "not-tls", "wrong-name", "handshake-failed"]


def test_one_sentence(life: Life, certmgr: FaultyCertMgr, caplog: pytest.LogCaptureFixture) -> None:
    """A cycle that changed nothing ends in one line, for debugging only."""
    caplog.set_level(logging.DEBUG, "certfront")
    certmgr.put(_credential(SITE))
    life.cycle()
    caplog.clear()
    life.cycle()
    life.cycle(Request((), False, "SIGHUP"))
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "pairs checked" in record.message]
    assert said == [
        ("DEBUG", "timer: 0 pairs checked; generation 1 runs on"),
        ("DEBUG", "SIGHUP: 1 pairs checked; generation 1 runs on"),
    ]


def test_a_cycle_that_fails(
    life: Life, certmgr: FaultyCertMgr, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong in a cycle is logged; whoever waits for it is not left waiting; the next one works."""
    certmgr.put(_credential(SITE))
    life.cycle()

    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("what nobody thought of")

    async def asked() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await life.agent._guarded_cycle([Request((), False, "refresh", done)])
        await asyncio.wait_for(done, 30)

    with monkeypatch.context() as patch:
        patch.setattr(agent_module, "check_all", fails)
        asyncio.run(asked())
    assert "what nobody thought of" in caplog.text
    life.now = life.next_check()
    assert life.cycle()["outcome"] == "unchanged"


@pytest.mark.parametrize("mode", ["normal", "hang"])
def test_another_name(tmp_path: Path, certmgr: FaultyCertMgr, mode: str) -> None:
    """After SERVER_NAME has changed, the old name's certificate is not put to use for the new one."""
    life = _life(tmp_path, certmgr, CERTMGR_TIMEOUT="0.5")
    variables = {"CERTMGR_HOST": ":".join(map(str, certmgr.address)), "CERTMGR_TIMEOUT": "0.5"}
    life.settings = rig.settings(tmp_path, **variables, SERVER_NAME="www.other.io")
    wanted = plans.stored(life.settings, rig.facts(), life.generations, rig.plan(life.settings).user)
    assert wanted.usable == {}
    rig.stage(life.generations, wanted)
    certmgr.mode = mode
    pair = life.restarted().pairs.managed[0]
    found = asyncio.run(check(pair, life.settings, NOW, force=False))
    assert found.credential is None
    assert found.problem is not None
    assert found.problem.outcome in (Outcome.WRONG_NAME, Outcome.UNREACHABLE)


def test_pending_asks_soon(tmp_path: Path, certmgr: FaultyCertMgr) -> None:
    """Without a certificate the agent asks within seconds, again and again, though the interval is an hour."""
    life = _life(tmp_path, certmgr, CERTMGR_CHECK_INTERVAL="3600", CERTFRONT_STATE_DIR=str(tmp_path / "fresh"))
    rig.stage(life.generations, rig.plan(life.settings))
    for generation in ("1",):
        pairs = life.generations.folder / generation / "manifest.json"
        pairs.write_text("{}")
    life.generations = Generations(life.settings.state_dir)
    life.restarted()
    for _ in range(12):
        entry = life.cycle()
        assert (entry["state"], entry["outcome"]) == ("pending", "wrong-name")
        assert 0 < (life.next_check() - life.now).total_seconds() <= 10
        life.now = life.next_check()
    assert len(certmgr.log) == 12


def test_after_a_fall_back_the_agent_knows_what_is_served(
    tmp_path: Path, certmgr: FaultyCertMgr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that finds a generation which NGINX does not take shows the proved one's certificate, not the other's."""
    (port,) = rig.free_ports(1)
    life = _life(tmp_path, certmgr, HTTPS_PORT=str(port))
    renewed = pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEY, not_before=NOW - DAY, not_after=NOW + 89 * DAY)
    failed = rig.stage(life.generations, rig.plan(life.settings, rig.usable(renewed)), publish=False)
    life.generations.publish(failed)
    # NGINX goes on answering with the old generation, whatever it is sent.
    monkeypatch.setattr(nginx, "generation", lambda _port: 1)
    monkeypatch.setattr(rollout, "_TIMEOUT", 0.1)
    with rig.Supervisor(life.settings.run_dir):
        agent = life.restarted()
        asyncio.run(agent._converge())
    served = agent.pairs.managed[0].record.served
    assert served is not None
    assert served.fingerprint_sha256 == describe(SITE.der).fingerprint_sha256
    current = life.generations.current()
    assert current is not None
    assert current.number == 1


@pytest.mark.parametrize("step", [timedelta(), 3650 * DAY, -3650 * DAY])
def test_no_process_for_a_test(
    tmp_path: Path, certmgr: FaultyCertMgr, monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    """`nginx -t` that cannot be started rests, refused; no step of the wall clock ends the rest, or makes it longer."""
    life, tried = _life(tmp_path, certmgr), []
    certmgr.put(_credential(SITE))

    def fail(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def cycle(seconds: float) -> dict[str, object]:
        life.now, life.passed = life.now + timedelta(seconds=seconds), life.passed + timedelta(seconds=seconds)
        return life.cycle(Request((), False, "test")) if not tried else life.cycle()

    with rig.Supervisor(life.settings.run_dir):
        life.cycle()
        monkeypatch.setattr(subprocess, "run", fail)
        life.settings.key_files[0].write_bytes(pki.key_pem(KEY) + b"\n")
        cycle(10)
        assert life.agent.ending.rejected
        assert "could not be started" in life.agent.ending.rejected.detail
        for _ in range(5):
            cycle(1)
        life.now += step
        cycle(1)
        assert len(tried) == 1
        cycle(1.2 * life.settings.check_interval)  # the check of the pair comes up to a tenth later
        assert len(tried) == 2
