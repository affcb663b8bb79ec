"""An attack by the workers' user on what root's NGINX and agent read: it fails, and the site goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrypoint import folders
from entrypoint.core.nginx_output import Build
from entrypoint.demo.pki import certificate_pem
from entrypoint.demo.stage import NAME, fingerprint
from entrypoint.edges import host
from tests.support.front import Front

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose to another user")

# Runs as the workers' user: every step is tried, and what succeeds is printed.
ATTACK = """
import os, signal, socket, sys
state, run, evil = sys.argv[1:4]
os.setgroups([])
os.setgid(int(sys.argv[5]))
os.setuid(int(sys.argv[4]))

def link(path, to):
    os.symlink(to, path + ".evil")
    os.rename(path + ".evil", path)

def write(path, mode="w"):
    with open(path, mode) as file:
        file.write("user root; error_log /dev/null; events { }")

number = os.readlink(state + "/current").split("/")[-1]
generation = f"{state}/generations/{number}"
steps = {
    "another current": lambda: link(state + "/current", evil),
    "another verified": lambda: link(state + "/verified", evil),
    "another folder of generations": lambda: os.rename(state + "/generations", state + "/gone"),
    "a generation of its own": lambda: os.mkdir(state + "/generations/99"),
    "another generation": lambda: os.rename(generation, generation + "0"),
    "its configuration": lambda: write(generation + "/nginx.conf"),
    "a file beside it": lambda: write(generation + "/site.conf.evil"),
    "its manifest": lambda: write(generation + "/manifest.json", "a"),
    "its keys": lambda: os.listdir(generation + "/certs"),
    "a hard link into it": lambda: os.link(evil + "/nginx.conf", generation + "/evil.conf"),
    "staging": lambda: os.mkdir(f"{state}/generations/.staging-{int(number) + 1}"),
    "staging of the link": lambda: os.symlink(evil, state + "/.staging-current"),
    "the lock": lambda: write(state + "/lock"),
    "another lock": lambda: os.unlink(state + "/lock"),
    "the agent's lock": lambda: os.rename(state + "/agent.lock", state + "/gone"),
    "an import": lambda: os.mkdir(state + "/imports"),
    "what was set aside": lambda: os.rename(state + "/verified", state + "/untrusted"),
    "supervisord's configuration": lambda: write(run + "/supervisord.conf"),
    "another one": lambda: os.rename(run + "/supervisord.conf", run + "/gone"),
    "supervisord's socket": lambda: socket.socket(socket.AF_UNIX).connect(run + "/supervisor.sock"),
    "another socket of supervisord": lambda: os.unlink(run + "/supervisor.sock"),
    "the agent's socket": lambda: socket.socket(socket.AF_UNIX).connect(run + "/agent.sock"),
    "another socket of the agent": lambda: os.rename(run + "/agent.sock", run + "/gone"),
    "NGINX's pid": lambda: write(run + "/nginx.pid"),
    "another pid": lambda: os.unlink(run + "/nginx.pid"),
    "the passwords": lambda: os.listdir(run + "/passwords"),
    "other passwords": lambda: os.rename(run + "/passwords", run + "/gone"),
    "the status": lambda: write(run + "/status/status.json"),
    "another status": lambda: link(run + "/status/status.json", evil),
    "another status folder": lambda: os.rename(run + "/status", run + "/gone"),
    "being alive": lambda: write(run + "/status/alive/1"),
    "templates": lambda: os.mkdir(run + "/conf.d"),
    "another folder of NGINX's": lambda: os.rename(run + "/nginx", run + "/gone"),
    "a link in a temporary folder's place": lambda: link(run + "/nginx/proxy", evil),
    "the run folder": lambda: os.rename(run, run + ".gone"),
    "the state folder": lambda: os.rename(state, state + ".gone"),
    "modes": lambda: os.chmod(state, 0o777),
    "the master": lambda: os.kill(int(open(run + "/nginx.pid").read()), signal.SIGHUP),
}
for name, step in steps.items():
    try:
        step()
    except PermissionError:
        continue
    except OSError as error:
        print(f"{name}: {error!r}")
    else:
        print(f"{name}: done")
"""


class Attacked(Front):
    """A front on folders as the image has them.

    ``evil`` has a configuration that leaves a trace where root runs it, ``victim`` what must stay as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state, self.run = self.folder / "state", self.folder / "run"
        self.state.mkdir(mode=0o775)
        os.chown(self.state, _attacker()[0], 0)
        self.run.mkdir()
        self.run.chmod(0o1777)
        self.evil, self.victim = self.folder / "evil", self.folder / "victim"
        self.evil.mkdir()
        text = f"user root;\nerror_log {self.folder}/trace debug;\nevents {{ }}\n"
        (self.evil / "nginx.conf").write_text(text)
        _give_away(self.evil)
        self.victim.mkdir(mode=0o750)
        (self.victim / "file").write_text("root's own\n")
        (self.victim / "file").chmod(0o640)
        self.before = _looks(self.victim)

    def __exit__(self, *raised: object) -> None:
        after, trace = _looks(self.victim), (self.folder / "trace").exists()
        subprocess.run(["rm", "-rf", str(self.state / "untrusted")], check=True)  # deeper than Python recurses
        super().__exit__(*raised)
        if not any(raised):
            assert after == self.before
            assert not trace, "root has run the attacker's configuration"

    def attack(self) -> str:
        """What a worker that was taken over can do, a line for each."""
        places = [str(path) for path in (self.state, self.run, self.evil)]
        command = [sys.executable, "-c", ATTACK, *places, *map(str, _attacker())]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


def _looks(folder: Path) -> list[tuple[object, ...]]:
    """Names, owners, modes and contents."""
    found = [folder, *sorted(folder.rglob("*"))]
    stats = [path.lstat() for path in found]
    contents = [path.read_bytes() if path.is_file() else b"" for path in found]
    return [
        (path, stat.st_uid, stat.st_gid, stat.st_mode, text)
        for path, stat, text in zip(found, stats, contents, strict=True)
    ]


def _attacker() -> tuple[int, int]:
    """The user that NGINX's workers run as."""
    name = host.facts(Build((1, 31, 3)), Path("/run"))[0].user.split()[0]
    entry = host._account(name)
    assert entry
    assert entry.pw_uid
    return entry.pw_uid, entry.pw_gid


def _give_away(folder: Path) -> None:
    """All of it belongs to the workers' user, as what a front has written that ran as that user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *_attacker(), follow_symlinks=False)


def test_from_a_worker() -> None:
    """A worker that was taken over can change nothing that root reads, and learns no secret; renewals go on."""
    with Attacked() as front:
        front.serve()
        assert front.attack() == ""
        front.until_served(front.renew())
        assert not (front.state / "untrusted").exists()


def test_the_attack_itself() -> None:
    """The same attack on folders that were left to the workers' user does what it means to."""
    with Attacked() as front:
        front.serve()
        front.stop()
        _give_away(front.state)
        _give_away(front.run)
        done = {line.rpartition(":")[0] for line in front.attack().splitlines() if line.endswith(": done")}
        assert {
            "another current",
            "another folder of generations",
            "another lock",
            "supervisord's configuration",
        } <= done


def test_what_is_read_is_known() -> None:
    """The run folder holds nothing that a start as root would not look after."""
    with Front() as front:
        front.serve()
        names = {path.name for path in (front.folder / "run").iterdir()}
        known = {path.name for pattern in folders._IN_RUN for path in (front.folder / "run").glob(pattern)}
        assert names - known == set()


def _prepared_state(front: Attacked) -> None:
    state, victim = front.state, front.victim
    for number in ("1", "2"):
        shutil.copytree(front.evil, state / "generations" / number)
        paths = {"chain_file": "../../../victim/file", "key_file": str(victim / "file"), "names": 7}
        manifest = {"pairs": {"site-1": paths}, "password_file": str(victim / "file"), "unlocked": [str(victim)]}
        (state / "generations" / number / "manifest.json").write_text(json.dumps(manifest))
    (state / "generations" / "2" / "certs").symlink_to(victim)
    (state / "generations" / "3").mkdir()
    (state / "current").symlink_to("generations/1")
    (state / "verified").symlink_to(front.evil)
    (state / ".staging-current").symlink_to(victim)
    (state / "agent.lock").symlink_to(victim / "file")
    (state / "untrusted").symlink_to(victim)


def _prepared_run(front: Attacked) -> None:
    run, victim = front.run, front.victim
    for name in ("status", "passwords", "keys"):
        (run / name).symlink_to(victim)
    for name in ("supervisord.conf", "nginx.pid", "supervisord.pid"):
        (run / name).symlink_to(victim / "file")
    for name in ("conf.d", "nginx"):
        (run / name).mkdir()
    (run / "conf.d" / "evil.conf").write_text("server { listen 1; }")
    (run / "nginx" / "client_body").symlink_to(victim)
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(run / "agent.sock"))


def _nested(folder: Path) -> None:
    """Folders that lie deeper than Python recurses."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def test_a_volume_that_was_prepared() -> None:
    """Root follows and runs nothing of it, changes nothing that a link leads to, and serves as from a new volume."""
    with Attacked() as front:
        _prepared_state(front)
        _prepared_run(front)
        for path in (*front.state.rglob("*"), *front.run.rglob("*")):
            os.chown(path, *_attacker(), follow_symlinks=False)
        os.link(front.victim / "file", front.state / "lock")  # other names of a file of root's
        os.link(front.victim / "file", front.state / "generations" / "4")
        _nested(front.state / "generations" / "3")
        front.serve()
        assert {path.lstat().st_uid for path in (front.state, *front.state.iterdir())} == {0}
        assert "other users than root could write" in front.log()
        assert front.attack() == ""


def test_a_volume_of_another_user() -> None:
    """Without CertMgr, its chain is served with the administrator's key; of its manifest no path is followed."""
    with Attacked() as front:
        front.serve()
        front.stop()
        front.certmgr.stop()
        manifest, file = front.current / "manifest.json", str(front.victim / "file")
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "password_file": file, "unlocked": [file]}))
        (front.current / "site.conf").write_text("syntax error")
        _give_away(front.state)
        front.start()
        front.until(lambda: front.served() == fingerprint(front.issued), "the stored certificate")
        front.until(lambda: front.status().get("source") == "certmgr", "its source")
        assert "is sound, and fits your key" in front.log()
        assert (front.state / "generations").stat().st_uid == 0


@pytest.mark.parametrize("other", ["key", "name", "expired", "garbage"])
def test_a_chain_that_does_not_fit(other: str) -> None:
    """A chain that another user has put in is served only where it fits the administrator's key and names."""
    with Attacked() as front:
        front.serve()
        front.stop()
        front.certmgr.stop()
        key, past = front.issued.key, datetime.now(UTC) - timedelta(days=2)
        issued = {
            "key": lambda: front.authority.issue(NAME),
            "name": lambda: front.authority.issue("evil.acme.io", key=key),
            "expired": lambda: front.authority.issue(NAME, key=key, not_before=past, not_after=past + timedelta(1)),
        }
        data = certificate_pem(*issued[other]().chain) if other in issued else b"\0" * 1000
        for chain in (front.state / "generations").rglob("chain-*.pem"):
            chain.unlink()
            chain.write_bytes(data)
        _give_away(front.state)
        front.start()
        front.until(lambda: front.http()[0] == 503, "the pending page")
        assert front.served() == ""


def test_a_volume_that_is_in_use() -> None:
    """A volume whose lock another user holds now is in use, whoever comes."""
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, 6); print(6, flush=True); time.sleep(60)"
    )
    with Attacked() as front:
        lock = front.state / "lock"
        lock.touch()
        _give_away(front.state)
        with subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"6\n"
            done = front.command("run")
            holder.kill()
        assert done.returncode == 1
        assert "another certfront uses" in done.stderr
