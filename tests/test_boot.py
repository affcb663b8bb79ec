"""Starting: what cannot work is said at once, naming the folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from entrypoint import boot
from entrypoint.edges.generations import Generations
from tests.support import pki, rig


def _run(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CERTMGR_", "CERTFRONT_"))}
    folders = {"CERTFRONT_STATE_DIR": str(tmp_path / "state"), "CERTFRONT_RUN_DIR": str(tmp_path / "run")}
    own = {"NGINX_BIN": rig.NEW, **folders}
    command = [sys.executable, "-m", "entrypoint", "run"]
    return subprocess.run(command, env=kept | own | variables, capture_output=True, text=True, timeout=60, check=False)


def test_a_lock_that_cannot_be_opened(tmp_path: Path) -> None:
    """Something else in the lock's place is named, with what to do, and without a traceback."""
    (tmp_path / "state" / "lock").mkdir(parents=True)
    done = _run(tmp_path)
    assert done.returncode == 1
    assert f"CERTFRONT_STATE_DIR: {tmp_path}/state/lock: Is a directory (as uid {os.geteuid()})" in done.stderr
    assert "hint: give the folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where a folder should be is named by its variable and path."""
    (tmp_path / "file").touch()
    done = _run(tmp_path, CERTFRONT_RUN_DIR=str(tmp_path / "file" / "run"))
    assert done.returncode == 1
    assert f"CERTFRONT_RUN_DIR: cannot make {tmp_path}/file/run/nginx/client_body: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_nginx(tmp_path: Path) -> None:
    """A missing NGINX is named with the variable that says where it is."""
    done = _run(tmp_path, NGINX_BIN="no-such-nginx")
    assert done.returncode == 1
    assert "NGINX_BIN: no program 'no-such-nginx' was found" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that cannot be replaced there is named, without a traceback."""
    (tmp_path / "run" / "status" / "status.json").mkdir(parents=True)
    done = _run(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/run/status/status.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_proved_goes_before_a_start_without_tls(tmp_path: Path) -> None:
    """Of a plan that NGINX refuses as a whole no half is taken as long as there is a proved generation."""
    issued = [pki.issue(rig.NAME, pki.root(), names=[rig.NAME], key=pki.ec_key(number)) for number in (61, 62)]
    settings = rig.settings(tmp_path)
    refused = rig.plan(settings, rig.usable(issued[0], key_pem=pki.key_pem(issued[1].key)))
    generations = Generations(settings.state_dir)
    rig.run_folders(settings.run_dir)
    generations.prepare()
    first = boot.Start(refused, rig.NEW, generations)
    assert not first.generation().manifest.pairs
    proved = rig.stage(generations, rig.plan(settings, rig.usable(issued[0])))
    other = boot.Start(refused, rig.NEW, generations)
    again = other.generation()
    assert again.number == proved.number
    assert generations.current() == again
    assert first.problem
    assert other.problem
    assert first.problem.detail == other.problem.detail
