"""Generations on a real disk: staged whole, switched by one rename, pruned, and unharmed when the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.core.generation.manifest import Manifest, StoredPair
from entrypoint.edges.generations import KEPT, Generations
from entrypoint.system import disk
from tests.support import rig
from tests.support.waiting import until

FILES = {
    "nginx.conf": b"events { }\n",
    "snippets/tls.conf": b"# nothing\n",
    "certs/www/chain-1.pem": b"chain",
    "certs/www/key-1.pem": b"key",
}


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    found = Generations(tmp_path / "state")
    found.prepare()
    return found


def _manifest(**pairs: str) -> Manifest:
    entries = {
        name: StoredPair(f"certs/www/chain-{tag}.pem", "certs/www/key-1.pem", facts={"certmgr": tag})
        for name, tag in pairs.items()
    }
    return Manifest(pairs=entries, digest="d")


def _live(generations: Generations, files: dict[str, bytes] | None = None, **pairs: str) -> int:
    number = generations.next_number()
    generation = generations.stage(number, files or FILES, _manifest(**pairs))
    generations.publish(generation)
    generations.confirm(generation)
    generations.prune()
    return number


def _tree(folder: Path) -> dict[str, object]:
    """Every file, link and folder below one, with its content."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return found


def _left_over(generations: Generations) -> list[Path]:
    return [path for path in generations.state_dir.rglob("*") if path.name.startswith(".")]


def test_stage(generations: Generations) -> None:
    """A staged generation holds all files and its manifest, is not live, and leaves no temporary name behind."""
    generation = generations.stage(1, FILES, _manifest(site="1"))
    assert generation.path == generations.folder / "1"
    assert generation.config.read_bytes() == FILES["nginx.conf"]
    assert {name: (generation.path / name).read_bytes() for name in FILES} == FILES
    assert Manifest.read((generation.path / "manifest.json").read_bytes()) == _manifest(site="1")
    assert generations.current() is None
    assert generations.verified() is None
    assert _left_over(generations) == []


def test_modes(generations: Generations) -> None:
    """All of a generation is its owner's alone, folders included: no copy is wider than what the user keeps closed."""
    before = os.umask(0)
    try:
        path = generations.stage(1, FILES, Manifest()).path
    finally:
        os.umask(before)
    names = [*FILES, "certs", "certs/www", "snippets", "manifest.json", ".", ".."]
    assert {name: (path / name).stat().st_mode & 0o077 for name in names} == dict.fromkeys(names, 0)
    assert (path / "certs/www/key-1.pem").stat().st_mode & 0o777 == 0o600


def test_a_folder_of_before_is_closed(generations: Generations) -> None:
    """What an older version left open in the folder is closed by the next start."""
    generations.folder.chmod(0o755)
    generations.prepare()
    assert generations.folder.stat().st_mode & 0o777 == 0o700


def test_hard_links(generations: Generations) -> None:
    """Unchanged chains and keys are the very same files as before, so that NGINX keeps them; changed ones are new."""
    _live(generations)
    changed = {**FILES, "certs/www/chain-2.pem": b"chain 2"}
    del changed["certs/www/chain-1.pem"]
    after = generations.stage(2, changed, Manifest()).path
    before = generations.folder / "1"
    assert (after / "certs/www/key-1.pem").samefile(before / "certs/www/key-1.pem")
    assert not (after / "nginx.conf").samefile(before / "nginx.conf")
    assert (after / "certs/www/chain-2.pem").stat().st_nlink == 1


def test_carried_files(generations: Generations) -> None:
    """Files of the current generation come along where they are asked for, but for what somebody has removed."""
    _live(generations)
    gone = "certs/www/gone.pem"
    after = generations.stage(2, {"nginx.conf": b""}, Manifest(), ["certs/www/key-1.pem", gone]).path
    assert (after / "certs/www/key-1.pem").samefile(generations.folder / "1/certs/www/key-1.pem")
    assert not (after / gone).exists()


def test_same_name_other_content(generations: Generations) -> None:
    """A name alone makes no link: other content is written anew, and the old generation keeps its own."""
    _live(generations)
    after = generations.stage(2, {**FILES, "certs/www/key-1.pem": b"other"}, Manifest()).path
    assert (after / "certs/www/key-1.pem").read_bytes() == b"other"
    assert (generations.folder / "1/certs/www/key-1.pem").read_bytes() == b"key"


def test_links(generations: Generations) -> None:
    """`current` and `verified` are relative links, so that the volume may be mounted anywhere."""
    number = _live(generations)
    for link in ("current", "verified"):
        assert (generations.state_dir / link).readlink() == Path("generations") / str(number)
    moved = generations.state_dir.rename(generations.state_dir.with_name("moved"))
    current = Generations(moved).current()
    assert current is not None
    assert current.number == number
    assert Generations(moved).config.read_bytes() == FILES["nginx.conf"]


def test_publish_is_one_rename(generations: Generations) -> None:
    """While generations are switched, a reader always finds a whole configuration: one or the other."""
    both = []
    for text in (b"one\n", b"two\n"):
        _live(generations, {**FILES, "nginx.conf": text})
        found = generations.current()
        assert found is not None
        both.append(found)
    reader = subprocess.Popen(
        rig.python(
            "import sys\n"
            "seen = set()\n"
            "print('ready', flush=True)\n"
            "for _ in range(20000):\n"
            "    with open(sys.argv[1], 'rb') as file:\n"
            "        seen.add(file.read())\n"
            "assert seen <= {b'one\\n', b'two\\n'}, seen\n"
            "print(len(seen))\n",
            str(generations.config),
        ),
        stdout=subprocess.PIPE,
    )
    with reader:
        assert reader.stdout
        assert reader.stdout.readline() == b"ready\n"
        switches = 0
        while reader.poll() is None:
            generations.publish(both[switches % 2])
            switches += 1
        assert reader.stdout.read() == b"2\n"
    assert reader.returncode == 0
    assert switches > 1


def _numbers(generations: Generations) -> set[int]:
    return {int(path.name) for path in generations.folder.iterdir()}


def test_pruning(generations: Generations) -> None:
    """The last five good generations are kept."""
    for _ in range(8):
        _live(generations)
    assert KEPT == 5
    assert _numbers(generations) == {4, 5, 6, 7, 8}


def test_pruning_keeps_the_last_refused(generations: Generations) -> None:
    """Of refused generations the last one is kept, with its reason; they take no good one's place."""
    for _ in range(5):
        _live(generations)
    for reason in ("first", "second"):
        refused = generations.stage(generations.next_number(), FILES, Manifest())
        generations.refuse(refused, reason)
    assert _numbers(generations) == {1, 2, 3, 4, 5, 7}
    assert (generations.folder / "7/refused").read_text() == "second\n"
    assert _live(generations) == 8
    assert _numbers(generations) == {2, 3, 4, 5, 7, 8}


def test_pruning_keeps_what_is_linked(generations: Generations) -> None:
    """What NGINX reads and what was proved last is kept, however old."""
    first = _live(generations)
    found = generations.current()
    assert found is not None
    for _ in range(7):
        generations.stage(generations.next_number(), FILES, Manifest())
    generations.prune()
    assert _numbers(generations) == {first, 4, 5, 6, 7, 8}
    generations.refuse(found, "later found bad, but still live")
    assert first in _numbers(generations)


def test_leftovers_are_swept(generations: Generations) -> None:
    """What a killed run left half-staged goes at the next start; a numbered generation never does."""
    number = _live(generations)
    half = generations.folder / ".staging-7" / "certs"
    half.mkdir(parents=True)
    (half / "key.pem").write_bytes(b"secret")
    (generations.state_dir / ".staging-current").symlink_to("generations/1")
    before = _tree(generations.folder / str(number))
    generations.prepare()
    assert _left_over(generations) == []
    assert _tree(generations.folder / str(number)) == before


def test_staging_over_leftovers(generations: Generations) -> None:
    """Half-staged files of the same number do not get into a generation."""
    half = generations.folder / ".staging-1"
    half.mkdir()
    (half / "evil.conf").write_bytes(b"")
    assert not (generations.stage(1, FILES, Manifest()).path / "evil.conf").exists()


def test_stored(generations: Generations) -> None:
    """The pair to fall back on is the live one; then any that was kept, newest first, but never a refused one."""
    assert generations.stored("site") is None
    files = {**FILES, "certs/www/chain-2.pem": b"chain 2", "certs/www/chain-3.pem": b"chain 3"}
    for tag in ("1", "2"):
        _live(generations, files, site=tag)
    refused = generations.stage(3, files, _manifest(site="3"))
    generations.refuse(refused, "bad")
    found = generations.stored("site")
    assert found is not None
    assert (found.certmgr, found.chain_pem, found.key_pem) == ("2", b"chain 2", b"key")
    _live(generations, files)  # the pair is commented out now
    found = generations.stored("site")
    assert found is not None
    assert found.certmgr == "2"
    assert generations.stored("other") is None


def _fails(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_folder_that_cannot_be_synced(generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises has not happened, though the rename before it had: no generation is there, and no link has moved."""
    for publish in (generations.publish, generations.confirm):
        _live(generations, site="1")
        before = _tree(generations.state_dir)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "sync", _fails)
            with pytest.raises(OSError, match="error"):
                generations.stage(generations.next_number(), FILES, Manifest())
        assert _tree(generations.state_dir) == before
        generation = generations.stage(generations.next_number(), FILES, Manifest())
        before = _tree(generations.state_dir)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "sync", _fails)
            with pytest.raises(OSError, match="error"):
                publish(generation)
        assert _tree(generations.state_dir) == before


def test_the_first_link_cannot_be_synced(generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there was none before, there is none afterwards."""
    generation = generations.stage(1, FILES, Manifest())
    monkeypatch.setattr(disk, "sync", _fails)
    with pytest.raises(OSError, match="error"):
        generations.publish(generation)
    assert generations.current() is None


@pytest.mark.parametrize("linked", [True, False])
def test_a_mark_that_cannot_be_written(generations: Generations, linked: bool) -> None:
    """A refused generation goes where it cannot be marked; one that is still current is known as refused."""
    _live(generations, site="1")
    refused = generations.stage(2, FILES, _manifest(site="2"))
    if linked:
        generations.publish(refused)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", _fails)
        if linked:
            with pytest.raises(OSError, match="error"):
                generations.refuse(refused, "bad")
        else:
            generations.refuse(refused, "bad")
    assert generations.is_refused(refused)
    assert refused.path.exists() == linked
    found = generations.stored("site")
    assert found
    assert (found.certmgr, found.chain_pem, found.key_pem) == ("1", b"chain", b"key")


@pytest.mark.parametrize("damage", ["no manifest", "no JSON", "no chain", "dangling link", "no link"])
def test_damage(generations: Generations, damage: str) -> None:
    """A damaged generation is passed over, not stumbled over."""
    _live(generations, site="1")
    _live(generations, site="1")
    path = generations.folder / "2"
    if damage == "no manifest":
        (path / "manifest.json").unlink()
    elif damage == "no JSON":
        (path / "manifest.json").write_text("{")
    elif damage == "no chain":
        (path / "certs/www/chain-1.pem").unlink()
    elif damage == "dangling link":
        shutil.rmtree(path)
    else:
        (generations.state_dir / "current").unlink()
    generations = Generations(generations.state_dir)  # as after a restart
    assert generations.stored("site") is not None
    current = generations.current()
    assert (current is None) == (damage != "no chain")
    assert generations.next_number() == (2 if damage == "dangling link" else 3)
    assert _live(generations, site="1") in (2, 3)


# Run as root in a mount namespace of its own: a real file system of so many KB, filled up; then stage and publish.
FULL = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from tests.edges import test_generations as here
from entrypoint.edges.generations import Generations
generations = Generations(pathlib.Path(sys.argv[1]))
generations.prepare()
here._live(generations, site="1")
before = here._tree(generations.state_dir)
left = int(sys.argv[3])
filler = os.open(generations.state_dir / "filler", os.O_WRONLY | os.O_CREAT)
while True:
    try:
        os.write(filler, b"x" * 4096)
    except OSError as error:
        assert error.errno == 28, error
        break
os.ftruncate(filler, os.fstat(filler).st_size - left * 4096)
files = here.FILES | {f"snippets/{n}.conf": os.urandom(4096) for n in range(8)}
try:
    generations.stage(2, files, here.Manifest())
    sys.exit("a full disk was not noticed")
except OSError as error:
    assert error.errno == 28, error
os.close(filler)
os.unlink(generations.state_dir / "filler")
after = here._tree(generations.state_dir)
assert after == before, set(after) ^ set(before)
assert here._live(generations, site="1") == 2
print("good")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
@pytest.mark.parametrize("left", [0, 1, 3, 6])
def test_disk_full(tmp_path: Path, left: int) -> None:
    """On a really full disk staging fails as a whole: nothing half-written stays, the live one is as it was."""
    script = 'mount -t tmpfs -o size=128k tmpfs "$1" || exit 77; shift; exec "$@"'
    run = rig.python(FULL, str(tmp_path), str(rig.ROOT), str(left))
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tmp_path), *run],
        capture_output=True,
        text=True,
        check=False,
        cwd=rig.ROOT,
        env=rig.python_environment(),
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr


LIMITED = """
import pathlib, resource, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.edges import test_generations as here
from entrypoint.edges.generations import Generations
generations = Generations(pathlib.Path(sys.argv[1]))
generations.prepare()
here._live(generations, site="1")
before = here._tree(generations.state_dir)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for size in (1001, 100_000):
    try:
        generations.stage(2, here.FILES | {"big.conf": bytes(size)}, here.Manifest())
        sys.exit("the limit was not noticed")
    except OSError as error:
        assert error.errno == 27, error
assert here._tree(generations.state_dir) == before
print("good")
"""


def test_write_error(tmp_path: Path) -> None:
    """A write that fails in the middle of a file leaves nothing behind either."""
    done = subprocess.run(
        rig.python(LIMITED, str(tmp_path), str(rig.ROOT)),
        capture_output=True,
        text=True,
        check=False,
        cwd=rig.ROOT,
        env=rig.python_environment(),
    )
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr


@pytest.fixture
def read_only(generations: Generations) -> Iterator[Generations]:
    """The state folder where nobody may write: by mode, or for root by the immutable flag."""
    _live(generations, site="1")
    generations.folder.chmod(0o555)
    if os.geteuid() == 0 and subprocess.run(["chattr", "+i", generations.folder], check=False).returncode:
        pytest.skip("this file system has no immutable flag, and root may write everywhere")
    yield generations
    if os.geteuid() == 0:
        subprocess.run(["chattr", "-i", generations.folder], check=True)
    generations.folder.chmod(0o755)


def test_read_only(read_only: Generations) -> None:
    """A read-only folder is an OSError, and the live generation can still be read."""
    before = _tree(read_only.state_dir)
    with pytest.raises(OSError, match=r"(?i)permi|read-only"):
        read_only.stage(2, FILES, Manifest())
    assert _tree(read_only.state_dir) == before
    assert read_only.stored("site") is not None


KILLED = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from tests.edges import test_generations as here
from entrypoint.edges.generations import Generations
generations = Generations(pathlib.Path(sys.argv[1]))
generations.prepare()
print("ready", flush=True)
while True:
    here._live(generations, site="1")
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """`kill -9` at whatever moment: every numbered generation is whole, and `current` names one of them."""
    for moment in range(6):
        command = rig.python(KILLED, str(tmp_path), str(rig.ROOT))
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=rig.python_environment(), cwd=rig.ROOT) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            begin = max(int(name.name) for name in [Path("0"), *(tmp_path / "generations").glob("[0-9]*")])
            until(lambda at=begin: (tmp_path / "generations" / str(at + 3)).exists(), "a few generations")  # type: ignore[misc]
            time.sleep(moment * 0.0007)  # not to wait for anything: to hit other moments
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        found = Generations(tmp_path)
        current = found.current()
        assert current is not None
        assert {name: (current.path / name).read_bytes() for name in FILES} == FILES
        for number in _numbers_of(found):
            whole = {name: (found.folder / str(number) / name) for name in FILES}
            pruned = not (found.folder / str(number) / "manifest.json").exists()
            assert pruned or all(path.read_bytes() == FILES[name] for name, path in whole.items())
        found.prepare()
        assert _left_over(found) == []


def _numbers_of(generations: Generations) -> list[int]:
    return [int(path.name) for path in generations.folder.glob("[0-9]*")]
