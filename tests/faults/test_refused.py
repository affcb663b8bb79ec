"""A generation that NGINX refuses is not tried over and over, and is tried again when there is a reason to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support import rig
from tests.support.stages import Front

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
        front.until("the certificate", lambda: front.status().get("fingerprint_sha256") == before)
        (tmp_path / "refuse").touch()
        front.issued = front.authority.issue(NAME, key=front.issued.key)
        front.put(front.issued)
        front.until("the refusal", front.outcome("config-rejected"))
        began, tested, asked = time.monotonic(), _tests(tmp_path), len(front.certmgr.log)
        assert front.status()["detail"] == f"refused for the test in {tmp_path}/site.conf:1"
        assert front.served() == before
        front.until("eight more checks", lambda: len(front.certmgr.log) >= asked + 8)
        most = 1 + (time.monotonic() - began) / 10
        assert _tests(tmp_path) - tested <= most
        assert front.status()["fingerprint_sha256"] == before
        assert (
            len([name for name in front.generations() if (front.state / "generations" / name / "refused").exists()])
            == 1
        )
        (tmp_path / "refuse").unlink()
        assert front.refresh() == "installed"
        front.until("the new certificate", lambda: front.served() == fingerprint(front.issued))
        assert "Traceback" not in front.log()
