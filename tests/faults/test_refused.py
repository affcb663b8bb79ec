"""A generation that NGINX refuses is not tried over and over, and is tried again when there is a reason to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support import rig
from tests.support.front import Front

# The real NGINX, but for its tests of generations while the file `refuse` exists; each of these is counted.
WRAPPER = """#!/bin/sh
case " $* " in *" -t "*)
    echo test >> "{folder}/tests"
    if [ -e "{folder}/refuse" ]; then
        echo "nginx: [emerg] refused for the test in {folder}/site.conf:1" >&2
        exit 1
    fi
esac
exec "{nginx}" "$@"
"""


def _tests(folder: Path) -> int:
    return len((folder / "tests").read_text().splitlines())


@pytest.mark.timeout(180)
def test_no_storm(tmp_path: Path) -> None:
    """Checked every second, a refused generation is tested once in ten; the old one is served; a request tries anew."""
    program = tmp_path / "nginx"
    program.write_text(WRAPPER.format(folder=tmp_path, nginx=rig.NEW))
    program.chmod(0o755)
    with Front({"NGINX_BIN": str(program)}) as front:
        front.put(front.issued)
        front.start()
        before = fingerprint(front.issued)
        front.until(lambda: front.status().get("fingerprint_sha256") == before, "the certificate")
        (tmp_path / "refuse").touch()
        front.issued = front.authority.issue(NAME, key=front.issued.key)
        front.put(front.issued)
        front.until(front.outcome("config-rejected"), "the refusal")
        began, tested, asked = time.monotonic(), _tests(tmp_path), len(front.certmgr.log)
        assert front.status()["detail"] == f"refused for the test in {tmp_path}/site.conf:1"
        assert front.served() == before
        front.until(lambda: len(front.certmgr.log) >= asked + 8, "eight more checks", 60)
        most = 1 + (time.monotonic() - began) / 10
        assert _tests(tmp_path) - tested <= most
        assert front.status()["fingerprint_sha256"] == before
        assert len(list((front.folder / "state" / "generations").glob("*/refused"))) == 1
        (tmp_path / "refuse").unlink()
        assert front.check()["outcome"] == "installed"
        front.until(lambda: front.served() == fingerprint(front.issued), "the new certificate")
