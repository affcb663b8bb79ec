"""What the user sets in `http` for all reaches neither the status port nor a challenge on its way to CertMgr."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.edges import nginx
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generations
from entrypoint.edges.status_files import StatusFiles
from tests.support import rig
from tests.support.recorder import Answer, Recorder

pytestmark = pytest.mark.xdist_group("e2e-deaf")

TOKEN = "/.well-known/acme-challenge/letsdebug-test"
# What changed an answer, or would, where the status server inherited it.
HEARD = [
    "auth_basic x; auth_basic_user_file none;",
    "auth_request /x;",
    "auth_jwt x;",
    "deny all;",
    "allow 192.0.2.1; deny all;",
    "satisfy any; deny all; auth_basic x; auth_basic_user_file none;",
    "limit_req_zone $server_name zone=z:1m rate=1r/m; limit_req zone=z;",
    "limit_req_zone $server_name zone=z:1m rate=1r/m; limit_req zone=z burst=9; limit_req_status 429;",
    "limit_conn_zone $server_name zone=z:1m; limit_conn z 1; limit_conn_status 429; limit_rate 9;",
    "limit_rate 1;",
    "limit_rate 4; limit_rate_after 100;",
    "open_file_cache max=99 inactive=1h; open_file_cache_valid 1h; open_file_cache_errors on;",
    "error_page 404 503 =200 /generation;",
    "error_page 404 503 =302 http://elsewhere.example/;",
    "error_page 503 /none; recursive_error_pages on;",
    "sub_filter ok no; sub_filter ready no; sub_filter_types *; sub_filter_once off;",
    "sub_filter_types *; sub_filter a b; sub_filter_last_modified off;",
    "add_before_body /generation; add_after_body /generation; addition_types *;",
    "ssi on; ssi_types *;",
    "gzip on; gzip_types *; gzip_min_length 1; gzip_vary on;",
    "gzip_static always;",
    "gunzip on;",
    "expires 1d;",
    "add_header Set-Cookie a=b always; add_header_inherit merge;",
    "add_header Content-Type x/y always;",
    "add_trailer X y always;",
    "charset koi8-r; charset_types application/json;",
    "source_charset koi8-r; charset_map koi8-r utf-8 { 80 E282AC; }",
    "etag off;",
    "if_modified_since before;",
    "default_type x/y; types { x/y txt json; }",
    "root /nowhere; index x; autoindex on;",
    "userid on;",
    "directio 1;",
    "aio threads; directio 1;",
    "disable_symlinks on;",
    "mirror /generation;",
    "dav_methods PUT DELETE MKCOL; create_full_put_path on;",
    "connection_pool_size 256; client_header_buffer_size 256; large_client_header_buffers 1 256;",
    "max_headers 1;",
    "http2 on;",
    "slice 1;",
    "max_ranges 0; chunked_transfer_encoding off; postpone_output 1;",
    "client_max_body_size 1; keepalive_timeout 0; send_timeout 1s; server_tokens off; msie_padding on;",
    "proxy_intercept_errors on; error_page 404 /generation; proxy_limit_rate 1; proxy_store off;",
]
PROGRAMS = [rig.NEW, pytest.param(rig.DEBIAN, marks=pytest.mark.old_nginx)]


@contextmanager
def _running(program: str, folder: Path, http: str, target: str) -> Iterator[tuple[int, int]]:
    """NGINX with a user's configuration that sets something in `http`: the ports of HTTP and of the status."""
    ports = rig.free_ports(3)
    names = ("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT")
    variables = dict(zip(names, map(str, ports), strict=True)) | {"NGINX_CONF": str(folder / "user.conf")}
    chosen = rig.settings(folder, ACME_CHALLENGE="proxy", ACME_CHALLENGE_TARGET=target, **variables)
    chosen.nginx_conf.write_text(f"events {{ }}\nhttp {{\n    access_log off;\n    {http}\n}}\n")
    known = rig.facts(nginx.build(program).version)
    plan = rig.plan(chosen, known=known)
    plan = replace(plan, user=ConfigFiles(chosen, plan.user).read())
    generation = rig.stage(Generations(chosen.state_dir), plan)
    files, now = StatusFiles(chosen.run_dir), time.time()
    files.prepare()
    files.status({"generation": 1})
    files.alive(now, now + 120)
    files.readiness("")
    with rig.running_nginx(program, generation.config, chosen.status_port):
        yield chosen.http_port, chosen.status_port


def _knows(program: str, http: str, folder: Path) -> bool:
    """Whether this NGINX has the modules for that."""
    conf = folder / "probe.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    conf.write_text(f"pid {folder}/pid; events {{ }}\nhttp {{ access_log off; {paths} {http} }}\n")
    done = subprocess.run([program, "-t", "-e", "stderr", "-c", conf], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "unknown directive" in done.stderr, done.stderr
    return done.returncode == 0


def _ask(port: int, path: str, method: str = "GET") -> bytes:
    """The whole answer, without what differs from one file or moment to the other."""
    request = f"{method} {path} HTTP/1.1\r\nHost: www.acme.io\r\nUser-Agent: {'x' * 400}\r\nAccept-Encoding: gzip\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
        conn.settimeout(10)
        conn.sendall(f"{request}If-None-Match: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: conn.recv(65536), b""))
    return re.sub(rb"\r\n(Date|Last-Modified|ETag|Server):[^\r]*", rb"\r\n\1", answer)


def _answers(http_port: int, status_port: int, folder: Path) -> list[bytes]:
    paths = ("/healthz", "/readyz", "/generation", "/status.json", "/none")
    found = [_ask(status_port, path) for _ in range(3) for path in paths]
    challenges = [_ask(http_port, TOKEN) for _ in range(3)]
    (folder / "run" / "status" / "ready.txt").unlink()
    (folder / "run" / "status" / "not-ready.txt").write_text("not ready: a\n")
    found += [_ask(status_port, "/readyz"), _code(_ask(status_port, "/status.json", "DELETE"))]
    return found + [_code(answer) + answer.partition(b"\r\n\r\n")[2] for answer in challenges]


def _code(answer: bytes) -> bytes:
    return answer.split()[1]


@pytest.fixture(scope="module")
def certmgr() -> Iterator[Recorder]:
    with Recorder(Answer(headers=b"Content-Type: text/plain\r\n", body=b"ok\n")) as certmgr:
        yield certmgr


@pytest.fixture(scope="module", params=PROGRAMS)
def expected(
    request: pytest.FixtureRequest, certmgr: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[bytes]]:
    """An NGINX, and what it answers where the user sets nothing."""
    folder = tmp_path_factory.mktemp("nothing")
    folder.chmod(0o755)
    with _running(request.param, folder, "", certmgr.url) as ports:
        return request.param, _answers(*ports, folder)


def test_what_is_answered(expected: tuple[str, list[bytes]]) -> None:
    """The values themselves: codes, bodies, and that nobody is to guess or keep what they are."""
    *status, deleted, one, two, three = expected[1]
    assert [_code(answer) for answer in status] == [b"200", b"200", b"200", b"200", b"404"] * 3 + [b"503"]
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in status]
    assert bodies[:3] + bodies[-1:] == [b"ok\n", b"ready\n", b"1\n", b"not ready: a\n"]
    assert (deleted, one, two, three) == (b"405", b"200ok\n", b"200ok\n", b"200ok\n")
    for answer in status:
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
        assert b"\r\nCache-Control: no-store\r\n" in answer


@pytest.mark.parametrize("http", HEARD)
def test_what_the_user_sets_for_all(
    http: str, expected: tuple[str, list[bytes]], certmgr: Recorder, tmp_path: Path
) -> None:
    """Every answer is what it is without that, to the byte."""
    program, answers = expected
    tmp_path.chmod(0o755)
    if not _knows(program, http, tmp_path):
        pytest.skip(f"this NGINX has no module for it: {http}")
    with _running(program, tmp_path, http, certmgr.url) as ports:
        found = _answers(*ports, tmp_path)
    # Limits on what visitors send are the user's business on port 80.
    last = -3 if re.search("header_buffer|max_headers", http) else None
    assert found[:last] == answers[:last]
