"""Where NGINX's temporary files go, and that what a killed one left of them goes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.edges import temporary

OTHER = Path("/dev/shm")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    if not OTHER.is_dir() or OTHER.stat().st_dev == tmp_path.stat().st_dev or not os.access(OTHER, os.W_OK):
        pytest.skip("needs /dev/shm on a file system of its own")
    with tempfile.TemporaryDirectory(dir=OTHER) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_elsewhere(cache: Path, tmp_path: Path) -> None:
    """A folder that we may write on another file system is taken; asked again, the answer is the same."""
    for _ in range(2):
        assert temporary.elsewhere(tmp_path, cache) == str(cache / "certfront")
    assert (cache / "certfront").is_dir()


def test_nowhere_else(cache: Path, tmp_path: Path) -> None:
    """The same file system is no gain, and no folder or a file is none."""
    assert temporary.elsewhere(tmp_path, tmp_path) == ""
    assert temporary.elsewhere(cache, cache) == ""
    assert temporary.elsewhere(tmp_path, cache / "none") == ""
    (cache / "file").touch()
    assert temporary.elsewhere(tmp_path, cache / "file") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o1777, 0), (0o775, 0), (0o755, 65534)])
def test_as_root_nobody_elses(cache: Path, tmp_path: Path, mode: int, owner: int) -> None:
    """Root's NGINX gives what it finds to its workers: a folder that others may write is not taken."""
    cache.chmod(mode)
    os.chown(cache, owner, -1)
    assert temporary.elsewhere(tmp_path, cache) == ""


def test_prepare(tmp_path: Path) -> None:
    """The folders are there and empty; what a link in them leads to stays."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    deep = tmp_path / "nginx" / "proxy" / "1" / "00"
    deep.mkdir(parents=True)
    (deep / "0000000001").write_text("x")
    (tmp_path / "nginx" / "proxy" / "0000000002").write_text("x")
    (tmp_path / "nginx" / "proxy" / "link").symlink_to(kept)
    temporary.prepare(tmp_path / "nginx")
    found = {path.name: list(path.iterdir()) for path in (tmp_path / "nginx").iterdir()}
    assert found == {name: [] for name in temporary.KINDS}
    assert (kept / "file").exists()
