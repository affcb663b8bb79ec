"""``nginx -t``, ``-T`` and ``-s`` as administrators know them, for certfront's NGINX; `nginx.sh` calls it.

The test is of the user's files as they are, gated parts included, and its messages have the user's files and lines.
"""

from __future__ import annotations

import getopt
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from entrypoint import plans
from entrypoint.core import nginx_output
from entrypoint.core.generation import blame
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.shown import shown
from entrypoint.core.x509 import credential
from entrypoint.core.x509.credential import FILE, Credential
from entrypoint.edges import control, key_files, nginx
from entrypoint.edges.generations import Generations
from entrypoint.edges.supervisord import Supervisord
from entrypoint.system import disk, files

_OPTIONS = "?hvVtTqs:p:e:c:g:"  # nginx(8)
_OURS = {"-t", "-T", "-q", "-s", "-e", "-g"}
_SIGNALS = ("reload", "reopen", "quit", "stop")


def run(settings: Settings, arguments: Sequence[str]) -> int:
    """Do what ``nginx`` does with these arguments; returns its exit status."""
    program = nginx.binary(settings.nginx_bin)
    given = _parsed(arguments)
    if given is None:
        os.execv(program, [program, *arguments])
    command = given.get("-s")
    if command is None:
        return _Test(settings, program).run(given)
    if command == "reload":
        return _Test(settings, program).run({"-q": ""}) or _reload(settings)
    _signal(settings, command)
    return 0


def _parsed(arguments: Sequence[str]) -> dict[str, str] | None:
    """The options by name; None where they concern another configuration, or the program alone."""
    try:
        options, rest = getopt.getopt(list(arguments), _OPTIONS)
    except getopt.GetoptError:
        return None
    given = dict(options)
    ours = not rest and given.keys() <= _OURS and given.keys() & {"-t", "-T", "-s"}
    return given if ours and given.get("-s", "reload") in _SIGNALS else None


def _reload(settings: Settings) -> int:
    """Check all pairs; if that changed nothing, let NGINX reload all the same, for upstreams' addresses."""
    generations = Generations(settings.state_dir)
    before = generations.current()
    control.refresh(settings.run_dir, [], force=False, timeout=600)
    after = generations.current()
    if before and after and before.number == after.number:
        Supervisord(settings.run_dir).reload_nginx()
    return 0


def _signal(settings: Settings, command: str) -> None:
    supervisord = Supervisord(settings.run_dir)
    if command == "reopen":
        supervisord.reopen_logs()
        return
    supervisord.shutdown()  # NGINX gets its QUIT from there
    if command == "stop":
        os.kill(int((settings.run_dir / "nginx.pid").read_text()), signal.SIGTERM)


def _own_pairs(plan: Plan) -> dict[str, Credential]:
    """The user's own pairs as they are on disk, without certfront's verdict: NGINX is to judge."""
    found = {}
    for pair in plan.gate.wanted:
        if pair.certificate_file:
            with suppress(OSError):
                chain, key = (files.read(path) for path in (pair.certificate_file, pair.key_file))
                found[pair.identity] = credential.stored({"source": FILE}, chain, key)
    return found


class _Test:
    """NGINX's test of the configuration without anything gated for a refusal."""

    def __init__(self, settings: Settings, program: str) -> None:
        self.settings, self.program = settings, program
        self.root = str(settings.nginx_conf)

    def run(self, given: dict[str, str]) -> int:
        """Print NGINX's messages with the user's file names; returns its exit status."""
        try:
            plan = self._plan()
        except Refused as error:
            return self._failed([error.problem.detail])
        if plan.user.configuration.faults:
            return self._failed([str(fault) for fault in plan.user.configuration.faults])
        if "-q" not in given:
            for where, why in plan.gate.users_part.items():
                print(shown(f"nginx: [warn] {where} waits: {why}"), file=sys.stderr)
        with self._staged(plan) as folder:
            return self._asked(plan, folder, given)

    def _plan(self) -> Plan:
        plan = plans.of_now(self.settings, self.program, Generations(self.settings.state_dir), as_ran=False)
        return replace(plan, usable={**plan.usable, **_own_pairs(plan)})

    def _failed(self, messages: Sequence[str]) -> int:
        for message in messages:
            print(shown(f"nginx: [emerg] {message}"), file=sys.stderr)
        print(f"nginx: configuration file {self.root} test failed", file=sys.stderr)
        return 1

    @contextmanager
    def _staged(self, plan: Plan) -> Iterator[Path]:
        """The plan's files in a temporary folder of the run folder; encrypted keys stay encrypted."""
        key_files.provide_missing(plan)
        with tempfile.TemporaryDirectory(prefix="test-", dir=self.settings.run_dir) as name:
            folders = {"": name}
            for path, data in plan.files(0).items():
                disk.write(disk.made(folders, path), data, sync=False)
            yield Path(name)

    def _asked(self, plan: Plan, folder: Path, given: dict[str, str]) -> int:
        """Run NGINX's test; its messages go to standard error, with -T the configuration to standard output."""
        flags = ["-T" if "-T" in given else "-t", *(["-q"] if "-q" in given else [])]
        more = ["-g", given["-g"]] if "-g" in given else []
        command = [self.program, *flags, "-e", given.get("-e", "stderr"), *more, "-c", str(folder / "nginx.conf")]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=self.settings.run_dir
            )
        except OSError as error:
            raise Refused(Outcome.CONFIG_REJECTED, f"{self.program}: {error.strerror}") from None
        sys.stdout.buffer.write(
            done.stdout.replace(os.fsencode(folder), os.fsencode(self.settings.state_dir / "current"))
        )
        said = blame.translated(plan, folder, os.fsdecode(done.stderr)).replace(f"{folder}/nginx.conf", self.root)
        sys.stderr.buffer.write(os.fsencode(nginx_output.for_a_person(said)))
        return done.returncode
