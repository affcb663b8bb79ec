"""How a container lives and ends."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from entrypoint.demo.stage import NAME, fingerprint

from .engine import IMAGE, Engine
from .lab import HTTP, PATIENCE, Container, Lab

pytestmark = pytest.mark.engine


class _Slow(BaseHTTPRequestHandler):
    """Answers once ``over`` is set."""

    asked, over = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.over.wait(PATIENCE)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"done\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_stop_lets_a_request_finish(lab: Lab) -> None:
    """`docker stop` during a long request: the visitor gets the whole answer, then the container ends with 0."""
    upstream = ThreadingHTTPServer((lab.gateway, 0), _Slow)
    threading.Thread(target=upstream.serve_forever, args=(0.05,), daemon=True).start()
    environment = lab.environment(UPSTREAM=f"http://{lab.gateway}:{upstream.server_address[1]}", BEFORE_TLS="serve")
    with lab.run(*lab.key(), environment=environment) as front:
        front.until(front.report, "the status")
        answers: list[tuple[int, bytes]] = []
        visitor = threading.Thread(target=lambda: answers.append(_get(front.port(HTTP))))
        visitor.start()
        assert _Slow.asked.wait(PATIENCE)
        stop = threading.Thread(target=front.stop)
        stop.start()
        front.until(lambda: not _accepts(front), "the end of new connections")
        assert front.state()["Running"]
        _Slow.over.set()
        visitor.join(PATIENCE)
        stop.join(PATIENCE)
        assert answers == [(200, b"done\n")]
        assert front.ended() == 0
    upstream.shutdown()
    upstream.server_close()


def _get(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/slow", headers={"Host": NAME})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def _accepts(front: Container) -> bool:
    """Asked inside: the engine's own proxy accepts for as long as the container runs."""
    script = f"import socket; socket.create_connection(('127.0.0.1', {HTTP}), 5)"
    done = front.engine.docker("exec", front.id, "/opt/certfront/bin/python", "-c", script, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("signal", ["TERM", "QUIT"])
def test_signals_end_it(lab: Lab, signal: str) -> None:
    """TERM and QUIT to PID 1: the end, with 0."""
    with lab.run(*lab.key()) as front:
        front.until(front.report, "the status")
        front.docker("kill", "--signal", signal)
        assert front.ended() == 0


@pytest.mark.parametrize("moment", [0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_a_stop_in_the_first_moments(lab: Lab, moment: float) -> None:
    """A container that is stopped so many seconds after it runs ends with 0 as well, and at once."""
    with lab.run(*lab.key()) as front:
        time.sleep(moment)
        status, seconds = front.stop()
        assert status == 0
        assert seconds < 5, front.log()


def test_hup_checks_now(lab: Lab) -> None:
    """With an interval of an hour, `docker kill -s HUP` is what brings a renewal in; nothing is restarted."""
    lab.put()
    with lab.run(*lab.key(), environment=lab.environment(CERTMGR_CHECK_INTERVAL="3600")) as front:
        front.until_serves(lab.issued)
        front.until_outcome("installed")
        since = front.report()["nginx"]["running_since"]
        lab.renew()
        front.docker("kill", "--signal", "HUP")
        front.until_serves(lab.issued)
        assert front.report()["nginx"]["running_since"] == since


def test_nginx_beyond_repair_ends_it(lab: Lab) -> None:
    """An NGINX that cannot be started any more ends the container, with a status that is not 0."""
    with lab.run(*lab.key()) as front:
        front.until(front.report, "the status")
        front.execute("sh", "-c", "rm -r /var/lib/certfront/generations && kill -9 $(cat /run/certfront/nginx.pid)")
        assert front.ended() == 1
        assert "NGINX cannot be kept running" in front.log()


def test_a_killed_nginx_comes_back(lab: Lab) -> None:
    """kill -9 of its master: it is started again, with the certificate."""
    lab.put()
    with lab.run(*lab.key()) as front:
        front.until_serves(lab.issued)
        front.execute("sh", "-c", "kill -9 $(cat /run/certfront/nginx.pid)")
        front.until(lambda: front.served() == fingerprint(lab.issued), "TLS")
        assert front.state()["Running"]


def test_no_zombies(lab: Lab) -> None:
    """Orphans that others leave behind, and all that certfront starts, are reaped."""
    lab.put()
    with lab.run(*lab.key()) as front:
        front.until_serves(lab.issued)
        front.execute("sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.1 &) ; done; certfront refresh")
        time.sleep(0.2)
        front.until_serves(lab.renew())
        states = "for file in /proc/[0-9]*/stat; do sed 's/.*) //' $file; done 2>/dev/null | cut -c1 | sort -u"
        front.until(lambda: "Z" not in front.execute("sh", "-c", states), "no zombie")


def test_an_upgrade_on_the_same_volume(lab: Lab, engine: Engine) -> None:
    """Another image with other templates on the volume: TLS at once, though CertMgr is away."""
    engine.run("sh", "-c", f"printf '{UPGRADE}' | /usr/bin/docker build --tag certfront:next -")
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    with lab.run(*volume, *lab.key()) as front:
        front.until_serves(lab.put())
        front.until_outcome("unchanged")
        front.stop()
        lab.certmgr.stop()
        with lab.run(*volume, *lab.key(), image="certfront:next") as upgraded:
            assert upgraded.until_serves(lab.issued) < PATIENCE
            upgraded.until_outcome("unreachable")
            rendered = upgraded.execute("cat", "/var/lib/certfront/current/status.conf")
            assert "# the next version" in rendered
            assert upgraded.served() == fingerprint(lab.issued)


UPGRADE = f"""FROM {IMAGE}
RUN for file in /opt/certfront/lib/python3*/site-packages/entrypoint/nginx/templates/status.conf; do \\
    echo "# the next version" >>$file; done
"""


def test_two_on_one_volume(lab: Lab) -> None:
    """The second ends with 1 and says why; the first one serves on, and its successor may have the volume."""
    lab.put()
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    with lab.run(*volume, *lab.key()) as first:
        first.until_serves(lab.issued)
        with lab.run(*volume, *lab.key()) as second:
            assert second.ended() == 1
            assert "another certfront uses /var/lib/certfront" in second.log()
            assert "give each its own volume" in second.log()
        assert first.served() == fingerprint(lab.issued)
        first.docker("kill")
        with lab.run(*volume, *lab.key()) as third:
            third.until_serves(lab.issued)


def test_the_health_check_of_the_engine(lab: Lab) -> None:
    """The engine itself finds the container healthy."""
    with lab.run("--health-interval", "1s", *lab.key()) as front:
        front.until(lambda: front.state()["Health"]["Status"] == "healthy", "health")


@pytest.mark.parametrize(
    "command",
    [
        ("nginx", "-g", "daemon off;"),
        ("sleep", "60"),
        ("demo-certmgr", "--names", NAME, "--listen", "8443"),
    ],
    ids=["nginx", "sleep", "demo-certmgr"],
)
@pytest.mark.parametrize("init", [(), ("--init",)], ids=["", "init"])
def test_another_command_is_healthy(lab: Lab, command: tuple[str, ...], init: tuple[str, ...]) -> None:
    """The image's health check is about certfront: where it does not run, there is nothing to check."""
    with lab.run(*init, "--health-interval", "1s", command=command, environment={}) as front:
        front.until(lambda: front.state()["Health"]["Status"] == "healthy", "health")
        assert "another command" in front.state()["Health"]["Log"][-1]["Output"]


@pytest.mark.parametrize("init", [(), ("--init",)], ids=["", "init"])
def test_signals_that_do_nothing(lab: Lab, init: tuple[str, ...]) -> None:
    """In the first moments, and when it runs, with an init and without."""
    lab.put()
    with lab.run(*init, *lab.key()) as front:
        for _ in range(10):
            for signal in ("USR1", "USR2", "ALRM", "WINCH", "CONT", "HUP"):
                front.docker("kill", "--signal", signal)
        front.until_serves(lab.issued)
        for signal in ("USR1", "USR2", "ALRM", "WINCH", "CONT", "PIPE"):
            front.docker("kill", "--signal", signal)
        assert front.served() == fingerprint(lab.issued)
        assert front.stop()[0] == 0


def test_memory_runs_out(lab: Lab) -> None:
    """Whatever takes all memory, PID 1 lives on, the site is served again, and the log names the limit."""
    lab.put()
    eater = "data = [b'x' * (1 << 20) for _ in range(400)]"
    with lab.run("--memory", "200m", "--memory-swap", "200m", *lab.key()) as front:
        front.until_serves(lab.issued)
        front.execute("/opt/certfront/bin/python", "-c", eater, check=False)
        front.until(lambda: "the memory limit of 200 MiB" in front.log(), "the reason")
        assert front.state()["Running"]
        front.until(lambda: front.served() == fingerprint(lab.issued), "TLS")


@pytest.mark.parametrize("limit", ["64:64", "256:256", "1000:1000"])
def test_few_open_files(lab: Lab, limit: str) -> None:
    """Limits below the 1,024 that supervisord would have are no reason not to start."""
    lab.put()
    with lab.run("--ulimit", f"nofile={limit}", *lab.key()) as front:
        front.until_serves(lab.issued)
