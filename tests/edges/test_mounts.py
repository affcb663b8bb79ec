"""Files mounted by themselves, with real bind mounts in a mount namespace of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
set -eu
mount --make-rprivate / 2>/dev/null || true
touch "$1/inside/key.pem" "$1/inside/od d.pem"
mount --bind "$1/host/key.pem" "$1/inside/key.pem"
mount --bind "$1/host/od d.pem" "$1/inside/od d.pem"
mount --bind "$1/host/folder" "$1/inside/folder"
ln -s inside "$1/link"
exec "$2" -c "$3" "$1"
"""
TELL = """
import os, pathlib, sys, threading
from entrypoint.edges import mounts, watch
top = pathlib.Path(sys.argv[1])
files = [top / "inside" / name for name in ("key.pem", "od d.pem", "plain.pem", "folder", "folder/key.pem", "none")]
files.append(top / "link" / "key.pem")
def names(found):
    return sorted(str(path.relative_to(top)) for path in found)
print(names(mounts.alone(files)), names(mounts.replaced(mounts.alone(files))))
told = threading.Event()
watching = watch.Watch(watch.spots([top / "inside"], mounts.alone(files)), told.set)
for number in range(60):
    (top / "host" / "key.pem").write_text(str(number))
    if told.wait(0.7):
        break
print(told.is_set())
watching.stop()
(top / "host" / "new").write_text("new")
(top / "host" / "new").rename(top / "host" / "key.pem")
(top / "host" / "od d.pem").unlink()
print(names(mounts.alone(files)), names(mounts.replaced(mounts.alone(files))))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_bind_mounts(tmp_path: Path) -> None:
    """They are told from folders and others; the host's writes are told at once, another file in its place is known."""
    for name in ("host/folder", "inside/folder"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("host/key.pem", "host/od d.pem", "inside/plain.pem", "host/folder/key.pem"):
        (tmp_path / name).write_text("old")
    command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(tmp_path), sys.executable, TELL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=100)
    if done.returncode and "permitted" in done.stderr:
        pytest.skip("no mounts in this container")
    assert done.stderr == ""
    alone = ["inside/key.pem", "inside/od d.pem", "link/key.pem"]
    assert done.stdout.splitlines() == [f"{alone} []", "True", f"{alone} {alone}"]
