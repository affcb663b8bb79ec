"""The image against its base: size, the time to the first answers, memory, requests per second. Needs an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import partial

from bench import probes
from bench.figures import Figure
from entrypoint.demo.stage import fingerprint
from tests.image.engine import BASE, IMAGE, ROOT, Engine, make_base
from tests.image.lab import HTTP, HTTPS, Container, Lab

_MB = 1000 * 1000
_SITE = 'server { listen 80; location / { return 200 "hello\\n"; } }\n'
_LOAD = ("wrk", "--threads", "1", "--connections", "32", "--duration", "3s")
_ROUNDS = 5  # of the load: each takes six seconds


def measure(runs: int) -> list[Figure]:
    """Build both images with an engine of our own, and measure them in turn."""
    with Engine() as engine:
        make_base(engine)
        engine.build(IMAGE, ROOT)
        with Lab(engine) as lab:
            size = (engine.size(IMAGE) - engine.size(BASE)) / _MB
            return [
                Figure("image: size above base", [size], "MB", 60),
                *_starts(lab, runs),
                *_at_rest(lab),
                *_load(lab),
            ]


def _starts(lab: Lab, runs: int) -> list[Figure]:
    bare, ours, stored = [], [], []
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    lab.put()
    with lab.run(*volume, *lab.key()) as front:
        front.until_serves(lab.issued)
        front.stop()
    for _ in range(runs):
        bare.append(_first_answer(lab, {}, image=BASE))
        ours.append(_first_answer(lab, lab.environment(), *lab.key()))
        stored.append(_first_handshake(lab, *volume, *lab.key()))
    more = [own - alone for own, alone in zip(ours, bare, strict=True)]
    return [
        Figure("docker run to HTTP: base image", bare, "ms"),
        Figure("docker run to HTTP: certfront", ours, "ms"),
        Figure("docker run to HTTP: difference", more, "ms", 500),
        Figure("docker run to TLS, stored generation", stored, "ms"),
    ]


def _first_answer(lab: Lab, environment: Mapping[str, str], *options: str, image: str = IMAGE) -> float:
    started = time.time()
    with lab.run(*options, environment=environment, image=image) as front:
        return (probes.until("an answer", partial(probes.http, front.port(HTTP))) - started) * 1000


def _first_handshake(lab: Lab, *options: str) -> float:
    wanted, started = fingerprint(lab.issued), time.time()
    with lab.run(*options) as front:
        port = front.port(HTTPS)
        return (probes.until("TLS", lambda: probes.fingerprint(port) == wanted) - started) * 1000


def _at_rest(lab: Lab) -> list[Figure]:
    with lab.run(*lab.key(), environment=lab.environment(CERTMGR_CHECK_INTERVAL="300")) as front:
        front.until_serves(lab.issued)
        time.sleep(20)
        listed = front.docker("top", check=True).stdout.splitlines()[1:]
        pids = [int(line.split()[1]) for line in listed if "nginx:" not in line]
        return [
            Figure("container at rest: all but NGINX, PSS", [sum(map(probes.pss, pids))], "MB", 60),
            Figure("container at rest: all but NGINX, if nobody shares", [probes.alone(pids)], "MB", 60),
        ]


def _load(lab: Lab) -> list[Figure]:
    """The same site in conf.d of both, asked at the containers' own addresses, in turn."""
    if not shutil.which(_LOAD[0]):
        raise probes.Missing("wrk is not installed: apt-get install wrk")
    site = lab.folder / "site.conf"
    site.write_text(_SITE)
    mount = ("-v", f"{site}:/etc/nginx/conf.d/default.conf:ro", "--log-driver", "none")
    with lab.run(*mount, environment={}, image=BASE) as bare, lab.run(*mount, environment={}) as ours:
        for front in (bare, ours):
            front.until(lambda front=front: front.http()[0] == 200, "the site")  # type: ignore[misc]
        pairs = [(_requests(ours), _requests(bare)) for _ in range(_ROUNDS)]
    return [
        Figure("requests per second: certfront", [own for own, _ in pairs], "1/s"),
        Figure("requests per second: base image", [alone for _, alone in pairs], "1/s"),
        Figure("requests per second: base to certfront", [alone / own for own, alone in pairs], "", 1 / 0.98),
    ]


def _requests(front: Container) -> float:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = front.docker("inspect", "--format", template).stdout.strip()
    done = subprocess.run([*_LOAD, f"http://{address}/"], capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec: +([0-9.]+)", done.stdout)
    if not found:
        raise probes.Missing(f"wrk said nothing of requests: {done.stdout}")
    return float(found[1])
