"""A plan made live on a real NGINX, and undone where it does not come to be served."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint import rollout, verify
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.model import KeyType, Outcome, Problem, Refused
from entrypoint.core.settings import Settings
from entrypoint.edges import certmgr, nginx
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.supervisord import Supervisord
from entrypoint.rollout import Rollout
from tests.support import pki, rig
from tests.support.waiting import until

CA = pki.root()
KEY = pki.ec_key(51)
SECRET = b"correct horse"


def _issue() -> pki.Issued:
    return pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEY)


OLD, NEW = _issue(), _issue()


class Site:
    """A running NGINX on generation 1, which serves OLD, and a rollout that can change that."""

    def __init__(self, settings: Settings, generations: Generations, supervisor: rig.Supervisor) -> None:
        self.settings, self.generations, self.supervisor = settings, generations, supervisor
        self.rollout = Rollout(rig.NEW, generations, Supervisord(settings.run_dir), settings.run_dir)

    def plan(self, issued: pki.Issued, **changes: object) -> Plan:
        return rig.plan(replace(self.settings, **changes), rig.usable(issued))  # type: ignore[arg-type]

    def apply(self, plan: Plan, known: tuple[bytes, ...] = ()) -> float:
        spent = asyncio.run(self.rollout.apply(plan, known, "test")).spent
        self.rollout.tidy()
        return spent or 0

    def served(self) -> str:
        port = self.settings.https_port
        chain = asyncio.run(certmgr.fetch("127.0.0.1", port, rig.NAME, KeyType.ECDSA, 20))
        return hashlib.sha256(chain[0]).hexdigest()

    def numbers(self) -> tuple[int | None, int | None, int | None]:
        """What is current, what is verified, and what NGINX answers with."""
        current, verified = self.generations.current(), self.generations.verified()
        answered = nginx.generation(self.settings.run_dir)
        return current.number if current else None, verified.number if verified else None, answered

    def settled(self, number: int, issued: pki.Issued) -> bool:
        """Wait until all agree: an old worker may still take a connection for a moment after the switch."""
        until(lambda: self.numbers() == (number,) * 3, f"generation {number}")
        until(lambda: self.served() == _fingerprint(issued), "its certificate")
        return True

    def refused(self) -> dict[int, str]:
        files = self.generations.folder.glob("*/refused")
        return {int(path.parent.name): path.read_text() for path in files}


def _fingerprint(issued: pki.Issued) -> str:
    return hashlib.sha256(issued.der).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    ports = map(str, rig.free_ports(3))
    chosen = rig.settings(tmp_path, **dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), ports, strict=True)))
    generations = Generations(chosen.state_dir)
    rig.stage(generations, rig.plan(chosen, rig.usable(OLD)))
    with (
        rig.running_nginx(rig.NEW, generations.config, chosen.status_port, chosen.run_dir) as master,
        rig.Supervisor(chosen.run_dir, master.pid) as supervisor,
    ):
        yield Site(chosen, generations, supervisor)


def test_apply(site: Site) -> None:
    """A new chain is live after one reload, and its generation is current and verified."""
    assert site.served() == _fingerprint(OLD)
    assert site.apply(site.plan(NEW)) > 0
    assert site.settled(2, NEW)
    assert site.supervisor.reloads == 1
    assert site.refused() == {}


def test_passwords_follow(site: Site) -> None:
    """An encrypted key is served with the known password; the password files of what is gone are forgotten."""
    folder = site.settings.run_dir / "passwords"
    for number, secret in enumerate((SECRET, b"another one"), start=2):
        encrypted = rig.usable(NEW, key_pem=pki.key_pem(KEY, secret))
        site.apply(rig.plan(site.settings, encrypted), (secret,))
        assert site.settled(number, NEW)
        (file,) = folder.iterdir()
        assert file.read_bytes().splitlines()[0] == secret
    site.apply(site.plan(OLD))
    assert list(folder.iterdir()) == []
    assert site.settled(4, OLD)


def _refusal(site: Site, plan: Plan) -> Problem:
    with pytest.raises(Refused) as caught:
        site.apply(plan)
    return caught.value.problem


def test_refused_by_the_test(site: Site) -> None:
    """What `nginx -t` refuses never becomes current, costs no reload, and is kept with NGINX's words."""
    plan = site.plan(NEW)
    templates = {**plan.templates, "mime.types": "bogus on;"}
    broken = replace(plan, user=packaged_config(plan.settings, plan.facts, templates))
    problem = _refusal(site, broken)
    assert problem.outcome is Outcome.CONFIG_REJECTED
    assert "mime.types:1" in problem.detail
    assert site.numbers() == (1, 1, 1)
    assert site.supervisor.reloads == 0
    assert list(site.refused()) == [2]
    assert "bogus" in site.refused()[2]
    site.apply(plan)
    assert site.settled(3, NEW)


class _Another(Plan):
    """A plan whose files hold another chain than it names: NGINX then serves what was not wanted."""

    def files(self, number: int) -> dict[str, bytes]:
        other = rig.usable(OLD).chain_pem
        return {name: other if "/chain-" in name else data for name, data in super().files(number).items()}


def test_not_served(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a handshake shows another certificate than the wanted one, the old generation comes back."""
    monkeypatch.setattr(verify, "_TIMEOUT", 2.0)
    plan = site.plan(NEW)
    another = _Another(plan.settings, plan.facts, plan.templates, plan.usable, {}, plan.user)
    applied = asyncio.run(site.rollout.apply(another, (), "test"))
    (detail,) = applied.failed.values()
    assert _fingerprint(OLD) in detail
    assert _fingerprint(NEW) in detail
    assert applied.plan.usable["site-1"].chain_pem == rig.usable(OLD).chain_pem
    assert site.settled(1, OLD)
    assert list(site.refused()) == [2]
    assert site.supervisor.reloads == 2


def test_reload_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken: NGINX keeps running as it was, that is noticed, and everything is switched back."""
    monkeypatch.setattr(rollout, "_TIMEOUT", 4.0)
    with socket.create_server(("", 0)) as taken:
        problem = _refusal(site, site.plan(NEW, http_port=taken.getsockname()[1]))
        assert problem.outcome is Outcome.RELOAD_FAILED
        assert site.numbers() == (1, 1, 1)
        assert site.served() == _fingerprint(OLD)
    assert list(site.refused()) == [2]
    site.apply(site.plan(NEW))
    assert site.settled(3, NEW)


def test_nobody_reloads(site: Site) -> None:
    """Without supervisord the signal does not get out: refused, and what is current is what runs."""
    (site.settings.run_dir / "supervisor.sock").rename(site.settings.run_dir / "away")
    problem = _refusal(site, site.plan(NEW))
    assert problem.outcome is Outcome.RELOAD_FAILED
    assert "supervisord" in problem.detail
    assert site.numbers() == (1, 1, 1)
    assert site.served() == _fingerprint(OLD)


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE, "time"])
def test_cannot_be_tested(site: Site, monkeypatch: pytest.MonkeyPatch, error: int | str) -> None:
    """Where `nginx -t` cannot be started, or does not end, that is the refusal, and the generation has the mark."""

    def fail(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nginx", 300) if error == "time" else OSError(error, os.strerror(int(error)))

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", fail)
        problem = _refusal(site, site.plan(NEW))
    assert problem.outcome is Outcome.CONFIG_REJECTED
    assert ("did not end" if error == "time" else os.strerror(int(error))) in problem.detail
    assert site.refused()[2].startswith("nginx -t ")
    assert site.numbers() == (1, 1, 1)
    site.apply(site.plan(NEW))
    assert site.settled(3, NEW)


def test_the_way_back_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way back that the disk refuses leaves the failed generation current, but marked; it is tried until it works."""
    socket_path = site.settings.run_dir / "supervisor.sock"
    publish = Generations.publish

    def fail(self: Generations, generation: Generation) -> None:
        if generation.number == 1:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        publish(self, generation)

    with monkeypatch.context() as patch:
        patch.setattr(Generations, "publish", fail)
        socket_path.rename(site.settings.run_dir / "away")
        assert _refusal(site, site.plan(NEW)).outcome is Outcome.RELOAD_FAILED
        site.rollout.tidy()
        assert site.numbers() == (2, 1, 1)
        current = site.generations.current()
        assert current
        assert site.generations.is_refused(current)
        assert Generations(site.generations.state_dir).is_refused(current)
    (site.settings.run_dir / "away").rename(socket_path)
    site.rollout.tidy()
    assert site.settled(1, OLD)
    site.apply(site.plan(NEW))
    assert site.settled(3, NEW)


@pytest.mark.parametrize("where", ["run", "state"])
def test_cannot_write(site: Site, where: str) -> None:
    """Where a folder cannot be written, that is the refusal, with a hint, and nothing has changed."""
    if where == "run":
        (site.settings.run_dir / "passwords").write_bytes(b"a file where the folder should be")
    else:
        (site.generations.folder / ".staging-2").write_bytes(b"likewise")
    encrypted = rig.usable(NEW, key_pem=pki.key_pem(KEY, SECRET))
    problem = _refusal(site, rig.plan(site.settings, encrypted))
    assert problem.outcome is Outcome.RELOAD_FAILED
    assert "served on" in problem.detail
    assert "CERTFRONT_STATE_DIR" in problem.hint
    assert site.numbers() == (1, 1, 1)
    assert site.supervisor.reloads == 0


def test_prove_without_reload(site: Site) -> None:
    """What runs already is proved by handshake alone."""
    current = site.generations.current()
    assert current is not None
    asyncio.run(site.rollout.prove(site.plan(OLD), current, reload=False))
    assert site.supervisor.reloads == 0


def test_fall_back(site: Site) -> None:
    """A current generation that turns out bad gives way to the last proved one; if it is that one, it stays."""
    verified = site.generations.current()
    assert verified is not None
    site.rollout.fall_back(verified, "bad")
    assert site.numbers() == (1, 1, 1)
    assert site.refused() == {}
    bad: Generation = rig.stage(site.generations, site.plan(NEW), publish=False)
    site.generations.publish(bad)
    site.rollout.fall_back(bad, "not served")
    assert site.numbers()[:2] == (1, 1)
    assert site.refused() == {2: "not served\n"}


def test_the_first_generation_fails(tmp_path: Path) -> None:
    """With nothing to go back to, a refused generation is at least marked."""
    chosen = rig.settings(tmp_path)
    rig.run_folders(chosen.run_dir)
    generations = Generations(chosen.state_dir)
    generations.prepare()
    found = Rollout(rig.NEW, generations, Supervisord(chosen.run_dir), chosen.run_dir)
    with pytest.raises(Refused, match="supervisord"):
        asyncio.run(found.apply(rig.plan(chosen, rig.usable(OLD)), (), "test"))
    assert (generations.folder / "1" / "refused").exists()
    shutil.rmtree(tmp_path / "state")
