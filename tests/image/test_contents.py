"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entrypoint import cli

from .engine import BASE, IMAGE, ROOT, Engine

MOST_ABOVE_BASE = 60_000_000  # bytes


@pytest.mark.engine
class TestImage:
    @pytest.fixture
    def config(self, engine: Engine) -> dict[str, Any]:
        done = engine.docker("image", "inspect", "--format", "{{json .Config}}", IMAGE)
        return dict(json.loads(done.stdout))

    def test_size(self, engine: Engine) -> None:
        """At most 60 MB above the base image."""
        assert engine.size(IMAGE) - engine.size(BASE) <= MOST_ABOVE_BASE

    def test_configuration(self, config: dict[str, Any]) -> None:
        """Labels, health check, volume, ports and signal are as the README says."""
        labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
        assert labels["title"] == "certfront"
        assert labels["licenses"] == "Apache-2.0"
        assert labels["name"] == BASE
        assert re.fullmatch(r"\d+\.\d+\.\d+", labels["version"])
        assert config["Healthcheck"]["Test"] == ["CMD", "certfront", "health"]
        assert list(config["Volumes"]) == ["/var/lib/certfront"]
        assert sorted(config["ExposedPorts"]) == ["443/tcp", "443/udp", "80/tcp", "8081/tcp"]
        assert config["StopSignal"] == "SIGQUIT"

    def test_labels_of_a_build(self, engine: Engine) -> None:
        """What a build says of its source, revision and time; what it does not say is empty, not the base image's."""
        said = {"SOURCE": "https://git.acme.com/certfront", "REVISION": "0123abc", "CREATED": "2026-11-25T12:00:00Z"}
        engine.build("certfront:labels", ROOT, *(f"--build-arg={name}={value}" for name, value in said.items()))
        for image, values in (("certfront:labels", said), (IMAGE, {})):
            done = engine.docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)
            labels = {name.rpartition(".")[2]: value for name, value in json.loads(done.stdout).items()}
            wanted = {name.lower(): values.get(name, "") for name in said} | {"url": values.get("SOURCE", "")}
            assert wanted.items() <= labels.items()
            assert labels["documentation"] == ("https://git.acme.com/certfront#readme" if values else "")

    @pytest.mark.parametrize("program", ["pip", "pip3", "gcc", "cc", "make", "uv"])
    def test_no_tools(self, engine: Engine, program: str) -> None:
        """No compiler, no installer."""
        assert engine.docker("run", "--rm", IMAGE, "sh", "-c", f"command -v {program}", check=False).returncode

    def test_no_leftovers(self, engine: Engine) -> None:
        """No caches and no package lists; no module named pip; the default site has given way."""
        script = "ls -A /var/lib/apt/lists /var/cache/apt /root /tmp /etc/nginx/conf.d; ls -d /build /root/.cache"
        done = engine.docker("run", "--rm", IMAGE, "sh", "-c", script, check=False)
        names = [line for line in done.stdout.splitlines() if line and not line.endswith(":")]
        assert [name for name in names if name not in (".bashrc", ".profile")] == []
        done = engine.docker("run", "--rm", IMAGE, "/opt/certfront/bin/python", "-c", "import pip", check=False)
        assert "ModuleNotFoundError" in done.stderr

    def test_no_group_or_stranger_writes_the_program(self, engine: Engine) -> None:
        """Nothing below /opt/certfront belongs to anybody but root, or is writable for others."""
        script = "find /opt/certfront /usr/local/bin \\( ! -user root -o -perm /022 \\) ! -type l"
        assert engine.docker("run", "--rm", IMAGE, "sh", "-c", script).stdout == ""

    def test_commands(self, engine: Engine) -> None:
        """certfront's own commands are certfront's; any other is run as it is."""
        help_ = engine.docker("run", "--rm", IMAGE, "--help").stdout
        assert "fetches its certificates from HCL Domino CertMgr" in " ".join(help_.split())
        assert "nginx version: nginx/1.30" in engine.docker("run", "--rm", IMAGE, "nginx", "-v").stderr
        done = engine.docker("run", "--rm", IMAGE, "sh", "-c", "echo $0 $1; exit 7", "one", "two", check=False)
        assert (done.returncode, done.stdout) == (7, "one two\n")

    def test_build_secret(self, engine: Engine) -> None:
        """A CA for an inspecting proxy may be given, and ends up in no layer."""
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        build = ("--no-cache", "--target", "build", "--secret", f"id=ca,src={bundle}")
        engine.build("certfront:build", ROOT, *build)
        done = engine.docker("run", "--rm", "--entrypoint", "ls", "certfront:build", "/run/secrets", check=False)
        assert "ca" not in done.stdout.split()

    def test_settings_faults(self, engine: Engine) -> None:
        """Unusable settings end it with 2, all of them named."""
        faults = ("-e", "CERTMGR_HOTS=x", "-e", "HTTPS_PORT=none")
        done = engine.docker("run", "--rm", *faults, IMAGE, check=False)
        assert done.returncode == 2
        assert "CERTMGR_HOTS: unknown variable" in done.stderr
        assert "HTTPS_PORT: expected a port" in done.stderr


def test_the_container_knows_every_command() -> None:
    """The shell script that the container starts with tells certfront's commands from others."""
    script = (ROOT / "entrypoint" / "container.sh").read_text()
    known = re.search(r"^    (agent \|.*) \| -\*\)$", script, re.MULTILINE)
    assert known
    choices = cli._parser([])._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert {"run", *known[1].split(" | ")} == set(choices or ())


@pytest.mark.engine
def test_arm64_has_all_wheels(tmp_path: Path) -> None:
    """The image builds for arm64 as well: every locked package has a wheel for it."""
    platforms = [part for tag in ("2014", "_2_28", "_2_34") for part in ("--platform", f"manylinux{tag}_aarch64")]
    where = ["--only-binary", ":all:", "--python-version", "3.13", "--dest", str(tmp_path)]
    lock = ["--require-hashes", "--requirement", str(ROOT / "requirements" / "runtime.txt")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *platforms, *where, *lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert any("aarch64" in path.name for path in tmp_path.iterdir())


def test_dockerfile_is_clean() -> None:
    """hadolint finds nothing."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
