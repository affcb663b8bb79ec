"""A container engine of our own: no init system, no firewall rules, and nothing left of it in the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
BASE = "nginx:1.30-trixie"
IMAGE = "certfront"
_BRIDGE, _ADDRESS = "certfront-test", "172.30.255.1/24"
_STARTING = 60  # seconds
_BUILDING = 900  # seconds; packages come from registries


class Engine:
    """An engine at ``host``, or one that is started for the time of the context.

    The data lie in ``/var/tmp``, as an overlay file system cannot lie on another one, as /tmp may be.
    """

    def __init__(self, host: str = "") -> None:
        self._own = not host
        self._folder = Path(tempfile.mkdtemp(prefix="certfront-engine-", dir="/var/tmp")) if self._own else Path()
        self.host = host or f"unix://{self._folder}/docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._own:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._daemon:
            return
        if left := self.docker("ps", "--all", "--quiet").stdout.split():
            self.docker("rm", "--force", "--volumes", *left, check=False)
        self._daemon.terminate()
        self._daemon.wait(_STARTING)
        subprocess.run(["ip", "link", "delete", _BRIDGE], check=True, capture_output=True)
        self._unmount()
        shutil.rmtree(self._folder)

    def _unmount(self) -> None:
        """The engine leaves the name of a network namespace behind, which is a mount."""
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([path for path in mounts if path.startswith(str(self._folder))]):
            subprocess.run(["umount", mount], check=True, capture_output=True)

    def _start(self) -> None:
        self._make_bridge()
        options = [
            "--bridge",
            _BRIDGE,
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--shutdown-timeout",
            "2",
        ]
        folders = ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"]
        with (self._folder / "log").open("wb") as log:
            daemon = self._daemon = subprocess.Popen(
                ["/usr/sbin/dockerd", *folders, "-H", self.host, "-p", f"{self._folder}/pid", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._answers() or daemon.poll() is not None, "an engine", _STARTING, self._story)
        assert daemon.poll() is None, self._story()

    def _answers(self) -> bool:
        return self.docker("info", check=False).returncode == 0

    def _story(self) -> str:
        return f"; its log ends with {(self._folder / 'log').read_text()[-3000:]}"

    @staticmethod
    def _make_bridge() -> None:
        """Not docker0: that may be another engine's."""
        subprocess.run(["ip", "link", "delete", _BRIDGE], check=False, capture_output=True)  # of a run that was killed
        for command in (
            ("link", "add", "name", _BRIDGE, "type", "bridge"),
            ("address", "add", _ADDRESS, "dev", _BRIDGE),
            ("link", "set", "dev", _BRIDGE, "up"),
        ):
            subprocess.run(["ip", *command], check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        """For programs that talk to it."""
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}

    def docker(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Debian's client; another ``docker`` may be first on the PATH."""
        return self.run("/usr/bin/docker", *arguments, check=check, timeout=timeout)

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout: float = 60,
        cwd: Path = ROOT,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A program that talks to the engine."""
        done = subprocess.run(
            command,
            env={**self.environment, **(environment or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def has(self, image: str) -> bool:
        return self.docker("image", "inspect", image, check=False).returncode == 0

    def build(self, tag: str, context: Path, *options: str) -> None:
        self.docker("build", "--network=host", "--tag", tag, *options, str(context), timeout=_BUILDING)

    def size(self, image: str) -> int:
        """Bytes."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", image).stdout)


def make_base(engine: Engine) -> None:
    """The stand-in for the official image that ours is built on, under its name."""
    if engine.has(BASE):
        return
    with tempfile.TemporaryDirectory(prefix="base-", dir="/var/tmp") as name:
        archive, context = Path(name) / "trixie.tar", Path(name) / "context"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "trixie", str(archive)]
        subprocess.run(command, check=True, capture_output=True, timeout=_BUILDING)
        engine.docker("import", str(archive), "debian:trixie-slim", timeout=_BUILDING)
        shutil.copytree(Path(__file__).parent / "base", context)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        engine.build(BASE, context)
