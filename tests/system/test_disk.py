"""What file systems cannot do is done in another way, or named."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.core.generation.manifest import Manifest, StoredPair
from entrypoint.edges.generations import Generations
from entrypoint.system import disk
from entrypoint.system.disk import Locked, lock
from tests.support import rig

FILES = {"nginx.conf": b"events { }\n", "certs/a/chain-1.pem": b"chain", "certs/a/key-1.pem": b"key"}
MANIFEST = Manifest(pairs={"a": StoredPair("certs/a/chain-1.pem", "certs/a/key-1.pem")})
UNABLE = [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM]


def _unable(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def _generation(generations: Generations) -> Path:
    generation = generations.stage(generations.next_number(), FILES, MANIFEST, ["certs/a/key-1.pem"])
    generations.publish(generation)
    return generation.path


@pytest.mark.parametrize("number", [*UNABLE, errno.EMLINK, errno.EXDEV])
def test_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Files that did not change are copied."""
    monkeypatch.setattr(os, "link", _unable(number))
    generations = Generations(tmp_path)
    generations.prepare()
    _generation(generations)
    path = _generation(generations)
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert (path / "certs/a/key-1.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", UNABLE)
def test_no_sync_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Folders that cannot be synced are left to the file system; files are synced all the same."""
    fsync, synced = os.fsync, []

    def files_only(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(number, os.strerror(number))
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    generations = Generations(tmp_path)
    generations.prepare()
    assert (_generation(generations) / "nginx.conf").read_bytes() == FILES["nginx.conf"]
    assert len(synced) >= len(FILES)
    assert generations.current()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """An error is none of these."""
    monkeypatch.setattr(os, "fsync", _unable(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        disk.sync(tmp_path)


@pytest.mark.parametrize("number", [*UNABLE, errno.ENOLCK])
def test_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Without locks nothing starts, and it is said that these are missing."""
    monkeypatch.setattr(fcntl, "flock", _unable(number))
    with pytest.raises(disk.Unsupported, match="no locks"), disk.lock(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("number", UNABLE)
def test_no_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The same without symbolic links; where they are, nothing is left of the trial."""
    disk.require_links(tmp_path, "probe")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "symlink", _unable(number))
    with pytest.raises(disk.Unsupported, match="no symbolic links"):
        disk.require_links(tmp_path, "probe")


def test_content(tmp_path: Path) -> None:
    """A regular file alone has content; nothing is waited for, and no descriptor is left open."""
    before = sorted(Path("/proc/self/fd").iterdir())
    (tmp_path / "file").write_bytes(b"text")
    os.mkfifo(tmp_path / "fifo")
    assert disk.content(tmp_path / "file") == b"text"
    for name in ("fifo", "nothing", "."):
        with pytest.raises(OSError, match=r".*"):
            disk.content(tmp_path / name)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_lock(tmp_path: Path) -> None:
    """A second holder is refused, in the same process and in another one, and let in afterwards."""
    path = tmp_path / "deep" / "lock"
    other = rig.python(
        "import sys, pathlib\n"
        "from entrypoint.system.disk import Locked, lock\n"
        "try:\n"
        "    with lock(pathlib.Path(sys.argv[1])): sys.exit(0)\n"
        "except Locked: sys.exit(3)\n",
        str(path),
    )

    def status() -> int:
        return subprocess.run(other, check=False, env=rig.python_environment(), cwd=rig.ROOT).returncode

    with lock(path):
        with pytest.raises(Locked), lock(path):
            pass
        assert status() == 3
    assert status() == 0
    assert path.stat().st_mode & 0o077 == 0


def test_lock_of_a_killed_holder(tmp_path: Path) -> None:
    """`kill -9` frees the lock: nobody has to clean up."""
    path = tmp_path / "lock"
    code = (
        "import sys, pathlib, time\n"
        "from entrypoint.system.disk import lock\n"
        "with lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = rig.python(code, str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=rig.python_environment(), cwd=rig.ROOT) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked), lock(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lock(path):
            pass
