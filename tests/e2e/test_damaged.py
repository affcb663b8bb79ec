"""Starts from damaged and from odd volumes, without CertMgr: what was proved is served, and there is no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrypoint.demo.stage import fingerprint
from tests.support.front import Front
from tests.support.user import User

pytestmark = pytest.mark.xdist_group("e2e-damaged")


class Volume:
    """A volume on which a certificate and its renewal were served; CertMgr is away, and will be."""

    def __init__(self, front: Front) -> None:
        self.front, self.state, self.kept = front, front.folder / "state", front.folder / "kept"
        front.serve()
        self.first = fingerprint(front.issued)
        front.until_served(front.renew())
        self.second = fingerprint(front.issued)
        front.until(lambda: (self.state / "verified").readlink() == (self.state / "current").readlink())
        front.stop()
        front.certmgr.stop()
        self.state.rename(self.kept)

    def fresh(self) -> Path:
        """The folder of its live generation, in a copy that is as it was."""
        self.front.stop()
        if self.state.exists():
            shutil.rmtree(self.state)
        subprocess.run(["cp", "-a", str(self.kept), str(self.state)], check=True)  # hard links stay what they are
        return self.state / (self.state / "current").readlink()

    def until_serves(self, *fingerprints: str) -> None:
        self.front.until(lambda: self.front.served() in fingerprints, "a certificate")
        self.front.until(lambda: self.front.http("/healthz", self.front.status_port)[0] == 200, "health")
        self.front.until(lambda: self.front.status().get("fingerprint_sha256") in fingerprints, "the status")


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    with Front() as front:
        yield Volume(front)


def _each(live: Path, pattern: str, harm: Callable[[Path], object]) -> None:
    for path in [path for path in live.glob(pattern) if path.is_file() or path.is_symlink()]:
        harm(path)


def _empty(path: Path) -> None:
    path.unlink()
    path.touch()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    (path / "below").mkdir(parents=True)


def _current(live: Path) -> Path:
    return live.parent.parent / "current"


DAMAGE: dict[str, Callable[[Path], object]] = {
    "zero bytes everywhere": lambda live: _each(live, "**/*.*", _empty),
    "the site is empty": lambda live: _empty(live / "site.conf"),
    "the status server is empty": lambda live: _empty(live / "status.conf"),
    "the root file is a FIFO": lambda live: _fifo(live / "nginx.conf"),
    "the chain is a FIFO": lambda live: _each(live, "certs/*/chain*", _fifo),
    "the key is a folder": lambda live: _each(live, "certs/*/key*", _folder),
    "the manifest is a list": lambda live: (live / "manifest.json").write_text('[{"pairs": 1}]'),
    "the manifest is deep": lambda live: (live / "manifest.json").write_text("[" * 100_000),
    "the manifest lacks its pairs": lambda live: (live / "manifest.json").write_text('{"digest": 7, "gates": []}'),
    "current is a folder": lambda live: _folder(_current(live)),
    "current is a file": lambda live: _empty(_current(live)),
    "the generation is gone": shutil.rmtree,
    "no links": lambda live: _each(live.parent.parent, "[cv]*", Path.unlink),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_volume(volume: Volume, damage: str) -> None:
    """Whatever is damaged, the start serves a pair that was proved, and goes on from there."""
    live = volume.fresh()
    DAMAGE[damage](live)
    volume.front.start()
    volume.until_serves(volume.first, volume.second)
    volume.front.tested()


def test_the_folder_is_a_file(volume: Volume) -> None:
    """With nothing left at all, HTTP comes up, and what was found is kept under another name."""
    volume.fresh()
    folder = volume.state / "generations"
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    volume.front.start()
    volume.front.until(lambda: volume.front.http()[0] == 503, "the pending page")
    assert (volume.state / "generations.damaged").read_text() == "not a folder"


def test_a_broken_root_file(user: User) -> None:
    """A fresh run folder and a root file that cannot be parsed: what ran last is served, keys with passwords too."""
    issued = user.site("shop.acme.io")
    user.give(issued, "shop.acme.io")
    user.start()
    user.until(lambda: user.serves(issued, "shop.acme.io"), "the certificate")
    user.until((user.current.parent / "verified").exists, "the proof")
    user.stop()
    user.certmgr.stop()
    shutil.rmtree(user.folder / "run")
    user.put_file("nginx.conf", "events {{ }} http {{")
    user.start()
    user.until(lambda: user.serves(issued, "shop.acme.io"), "the certificate")


ODD = """
import errno, fcntl, os, sys

def fail(*arguments, **more):
    raise OSError(errno.{error}, os.strerror(errno.{error}))

{name} = fail
from entrypoint.launch import main
sys.argv[1:] = ["run"]
sys.exit(main())
"""


@pytest.mark.parametrize("error", ["EOPNOTSUPP", "EPERM", "ENOSYS"])
@pytest.mark.parametrize(("name", "missing"), [("fcntl.flock", "no locks"), ("os.symlink", "no symbolic links")])
def test_what_is_missing_is_said(volume: Volume, error: str, name: str, missing: str) -> None:
    """A file system without what we need says so, once, and ends."""
    volume.fresh()
    done = subprocess.run(
        [sys.executable, "-c", ODD.format(error=error, name=name)],
        env=volume.front.variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"CERTFRONT_STATE_DIR: {volume.state}: its file system has {missing}" in done.stderr
    assert "hint: give it a file system that has them" in done.stderr
    assert "Traceback" not in done.stderr


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; shift; exec "$@"'


def _start_read_only(front: Front) -> None:
    with (front.folder / "certfront.log").open("ab") as log:
        front.process = subprocess.Popen(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"),
                *(str(front.folder / "state"), sys.executable, "-m", "entrypoint", "run"),
            ],
            env=front.variables(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("damage", ["nothing", "current", "settings"])
def test_a_read_only_volume(volume: Volume, damage: str) -> None:
    """What was proved is served, also where the link is damaged or the settings ask for more; the status says so."""
    live = volume.fresh()
    before = volume.front.environment
    if damage == "current":
        _empty(_current(live))
    if damage == "settings":
        volume.front.environment = {**before, "HSTS": "max-age=600"}
    _start_read_only(volume.front)
    assert volume.front.process
    try:
        volume.front.until(lambda: volume.front.served() == volume.second, "the certificate")
        volume.front.until(lambda: volume.front.report().get("configuration", {}).get("warnings"), "the warning")
        warnings = volume.front.report()["configuration"]["warnings"]
        assert ["read-only" in each["reason"] for each in warnings if each["where"] == "CERTFRONT_STATE_DIR"] == [True]
    finally:
        volume.front.environment = before
        volume.front.stop()
