"""Starting: what cannot work is said at once, naming the folder."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint import boot
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.edges.generations import Generation, Generations
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


@pytest.fixture
def proved(tmp_path: Path) -> tuple[Plan, Generations, Generation]:
    """A plan, and its generation as it was proved."""
    settings = rig.settings(tmp_path)
    generations = Generations(settings.state_dir)
    plan = rig.plan(settings, rig.usable(pki.issue(rig.NAME, pki.root(), names=[rig.NAME], key=pki.ec_key(61))))
    return plan, generations, rig.stage(generations, plan)


def test_as_it_ran(proved: tuple[Plan, Generations, Generation]) -> None:
    """A generation of the same plan starts as it is, and nothing is made."""
    plan, generations, last = proved
    start = boot.Start(plan, rig.NEW, generations)
    assert start.generation().number == last.number
    assert start.problem is None
    assert generations.next_number() == last.number + 1


@pytest.mark.parametrize("damage", ["damaged", "refused"])
def test_the_same_plan_is_not_enough(proved: tuple[Plan, Generations, Generation], damage: str) -> None:
    """A generation of the same plan that is damaged or refused is made anew."""
    plan, generations, last = proved
    if damage == "damaged":
        (last.path / "site.conf").write_text("")
    else:
        generations.refuse(last, "not served")
    start = boot.Start(plan, rig.NEW, generations)
    found = start.generation()
    assert found.number > last.number
    assert found.manifest.digest == plan.digest
    assert start.problem is None


def test_a_configuration_that_cannot_be_known(proved: tuple[Plan, Generations, Generation]) -> None:
    """What was proved runs, whatever the plan; where that is damaged, there is nothing left but the reason."""
    plan, generations, last = proved
    refusal = Refused(Outcome.CONFIG_REJECTED, "NGINX_CONF: unexpected end")
    start = boot.Start(replace(plan, usable={}), rig.NEW, generations, refusal)
    assert start.generation().number == last.number
    assert start.problem is refusal.problem
    (last.path / "site.conf").write_text("")
    with pytest.raises(Refused, match="unexpected end"):
        boot.Start(plan, rig.NEW, generations, refusal).generation()
    assert generations.next_number() == last.number + 1


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
