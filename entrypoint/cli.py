# PYTHON_ARGCOMPLETE_OK
"""The commands: parse, call, print. Each imports its modules when it is called, as `run` must reach NGINX fast."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from entrypoint import __version__
from entrypoint.core import values
from entrypoint.core.model import KeyType, Refused
from entrypoint.core.settings import Endpoint, Settings
from entrypoint.core.shown import all_shown, shown
from entrypoint.environment import SettingsError, from_environment

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Command = Callable[[argparse.Namespace], int]
Fail = Callable[[str, Sequence[str], int], int]


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status: 0, 1 (a problem) or 2 (unusable settings or arguments)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["nginx"]:  # its options are NGINX's own
        return _guarded(lambda: _nginx(arguments[1:]))
    parser = _parser(arguments)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    parsed = parser.parse_args(arguments)
    return _guarded(lambda: int(parsed.call(parsed)), _log if parsed.command in ("run", "agent") else _fail)


def _guarded(call: Callable[[], int], fail: Fail | None = None) -> int:
    fail = fail or _fail
    try:
        return call()
    except SettingsError as error:
        return fail("the settings cannot be used", error.faults, 2)
    except Refused as error:
        hint = [f"hint: {error.problem.hint}"] if error.problem.hint else []
        return fail(error.problem.detail, hint, 1)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    except OSError as error:  # a full disk, a file without rights: a fault of the machine, not of the program
        return fail(str(error), [], 1)


def _log(message: str, lines: Sequence[str], status: int) -> int:
    """Report a failure of a background command, as JSON where LOG_FORMAT=json."""
    if os.environ.get("LOG_FORMAT", "").strip().lower() != "json":
        return _fail(message, lines, status)
    import logging

    from entrypoint import log

    log.setup("json", "error")
    logging.getLogger("certfront").error("\n  ".join([message, *lines]))
    return status


def _fail(message: str, lines: Sequence[str], status: int) -> int:
    print(shown("\n  ".join([f"certfront: {message}", *lines])), file=sys.stderr)
    return status


def _settings(*, logging: bool = False) -> Settings:
    settings = from_environment(os.environ)
    if logging:
        from entrypoint import log

        log.setup(settings.log_format, settings.log_level)
    return settings


def _run(_: argparse.Namespace) -> int:
    from entrypoint import boot

    return boot.run(_settings(logging=True))


def _agent(_: argparse.Namespace) -> int:
    settings = _settings(logging=True)
    from entrypoint import agent

    return agent.main(settings)


def _fetch(arguments: argparse.Namespace) -> int:
    from entrypoint.core import names
    from entrypoint.core.x509 import pem, vet
    from entrypoint.core.x509.certificate import describe

    name, settings = _name(arguments.name), _settings()
    endpoints = [arguments.certmgr] if arguments.certmgr else settings.certmgr_hosts
    if not endpoints:
        raise SettingsError(["CERTMGR_HOST: expected a host, found nothing; or give --certmgr HOST[:PORT]"])
    endpoint, chain = _first_chain(endpoints, name, arguments.key_type, settings.timeout)
    sys.stdout.write(pem.encode(chain).decode())
    found = describe(chain[0]).names
    if any(names.covers(presented, name) for presented in found):
        return 0
    returned = f"{endpoint} returned a certificate for {', '.join(found)}, not for {name}"
    return _fail(returned, [vet.DEFAULT_CERTIFICATE], 1)


def _first_chain(
    endpoints: Sequence[Endpoint], name: str, key_type: KeyType | None, timeout: float
) -> tuple[Endpoint, tuple[bytes, ...]]:
    """The chain of the first CertMgr that presents one, and that CertMgr. Raises `Refused` where none does."""
    import asyncio

    from entrypoint.core.x509.chain import arranged
    from entrypoint.edges import certmgr

    problems = []
    for endpoint in endpoints:
        try:
            return endpoint, arranged(asyncio.run(certmgr.fetch(endpoint.host, endpoint.port, name, key_type, timeout)))
        except Refused as error:
            problems.append(error)
    for problem in problems[:-1]:
        print(f"certfront: {problem}", file=sys.stderr)
    raise problems[-1]


def _name(text: str) -> str:
    try:
        return values.host_name(text)
    except ValueError as error:
        raise SettingsError([f"NAME: expected {error}, found {text!r}"]) from None


def _status(arguments: argparse.Namespace) -> int:
    from entrypoint.core.terminal import overview
    from entrypoint.edges.status_files import StatusFiles

    settings = _settings()
    found = StatusFiles(settings.run_dir).read()
    if found is None:
        hint = "is `certfront run` running with the same CERTFRONT_RUN_DIR?"
        return _fail(f"there is no status in {settings.run_dir}", [hint], 1)
    as_json = json.dumps(all_shown(found), indent=1, ensure_ascii=False) if arguments.json else ""
    print(as_json or overview(found, colour=_colour()))
    return 0


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _refresh(arguments: argparse.Namespace) -> int:
    from entrypoint.core.model import Outcome
    from entrypoint.core.terminal import certificate
    from entrypoint.edges import control

    settings = _settings()
    names = [_name(name) for name in arguments.name]
    # A reload of many encrypted keys takes minutes; whoever waits can press Ctrl-C.
    found = control.refresh(settings.run_dir, names, force=arguments.force, timeout=600)
    if not found:
        return _fail(f"no certificate is kept for {', '.join(names) or 'any name'}", ["see `certfront status`"], 1)
    for entry in found:
        print(certificate(entry, colour=_colour()))
    return 0 if all(Outcome(entry["outcome"]).good for entry in found) else 1


def _render(arguments: argparse.Namespace) -> int:
    from entrypoint import plans

    plan, number = plans.running(_settings())
    for where, why in plan.warnings():
        print(f"certfront: warning: {where}: {why}", file=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # the user's files need not be UTF-8
    if arguments.diff:
        sys.stdout.writelines(plan.differences())
        return 0
    for path, text in plan.texts(number).items():
        print(f"# configuration file {path}:\n{text}")
    return 0


def _nginx(arguments: Sequence[str]) -> int:
    from entrypoint import official

    return official.run(_settings(), arguments)


def _health(arguments: argparse.Namespace) -> int:
    from entrypoint import health
    from entrypoint.edges import nginx

    return health.told(*nginx.ask(_settings().run_dir, "/readyz" if arguments.ready else "/healthz"))


def _demo(arguments: argparse.Namespace) -> int:
    from entrypoint.demo import tour

    return tour.run(stay=not arguments.exit)


def _demo_certmgr(arguments: argparse.Namespace) -> int:
    from entrypoint.demo import cli_certmgr

    return cli_certmgr.run(arguments)


def _endpoint(text: str) -> Endpoint:
    try:
        return values.endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}, found {text!r}") from None


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="certfront",
        description="NGINX that fetches its certificates from HCL Domino CertMgr and keeps serving, whatever happens.",
    )
    parser.add_argument("--version", action="version", version=f"certfront {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_commands(partial(_added, commands))
    if "demo-certmgr" in argv[:1] or "_ARGCOMPLETE" in os.environ:
        from entrypoint.demo import cli_certmgr

        cli_certmgr.add_arguments(commands.choices["demo-certmgr"])
    return parser


def _added(commands: Commands, name: str, call: Command, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(call=call)
    return command


def _add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    add("run", _run, "boot and supervise NGINX and the agent (the container's default)")
    add("agent", _agent, "the agent's process, as `run` starts it")
    command = add("fetch", _fetch, "print the chain that CertMgr presents for a name as PEM, leaf first")
    command.add_argument("name", metavar="NAME", help="the name to ask for by SNI")
    command.add_argument("--certmgr", type=_endpoint, metavar="HOST[:PORT]", help="instead of CERTMGR_HOST")
    command.add_argument("--key-type", type=KeyType, choices=list(KeyType), help="offer this kind of certificate only")
    command = add("status", _status, "say what is served, since when, until when, and how the last check went")
    command.add_argument("--json", action="store_true", help="print status.json")
    command = add("refresh", _refresh, "check now, wait, and report the outcome")
    command.add_argument("name", metavar="NAME", nargs="*", help="only these certificates")
    command.add_argument("--force", action="store_true", help="accept an older certificate than the one served")
    command = add("render", _render, "print the configuration that would run, with what is commented out and why")
    command.add_argument("--diff", action="store_true", help="print what differs from NGINX_CONF and what it includes")
    command = add("health", _health, "exit with 0 if NGINX serves and the agent is alive, otherwise with 1")
    command.add_argument("--ready", action="store_true", help="only once every certificate is served")
    command.add_argument("--image", action="store_true", help="0 as well in a container that runs another command")
    command = add("demo", _demo, "a guided tour on loopback with a stand-in CertMgr")
    command.add_argument("--exit", action="store_true", help="end after the tour, with 1 if a step failed")
    add("demo-certmgr", _demo_certmgr, "the stand-in CertMgr alone")
