"""NGINX's output: how it was built, and what of its messages is a refusal, and what a warning."""

from __future__ import annotations

import pytest

from entrypoint.core import nginx_output
from entrypoint.core.nginx_output import Build, Line, build, hint, lines, refusal, refused_reload, warnings

_STAMP = "2026/03/01 12:00:00"
_WARN = f"{_STAMP} [warn] 7#7: duplicate MIME type in /a:1\n"
_EMERG = f'{_STAMP} [emerg] 7#7: unknown directive "bogus" in /b:2\n'
_END = "nginx: configuration file /nginx.conf test failed\n"
_PLACE = 'unknown directive "bogus" in /b:2'


@pytest.mark.parametrize(
    ("output", "refused", "warned"),
    [
        (_EMERG + _END, _PLACE, 0),
        (_WARN + _EMERG + _END, _PLACE, 1),
        (_WARN + "nginx: [emerg] no user\n" + _END, "no user", 1),
        (f"{_STAMP} [error] 7#7: odd\n{_STAMP} [crit] 7#7: worse\n{_STAMP} [alert] 7#7: bad\n{_END}", "bad", 0),
        (f"{_WARN}{_STAMP} [error] 7#7: odd\n{_END}", "odd", 1),
        (f"{_STAMP} [notice] 7#7: hello\n{_EMERG}{_EMERG}{_END}", _PLACE, 0),
        (f'{_WARN}{_STAMP} [emerg] 7#7: unknown "a\nb" in /b:2\n', 'unknown "a b" in /b:2', 1),
        ("nginx: error while loading shared libraries: libpcre\n", "error while loading shared libraries: libpcre", 0),
        ("Killed\n", "Killed", 0),
        (_WARN + _END, "", 1),
        (_END, "", 0),
    ],
)  # fmt: skip
def test_who_refuses(output: str, refused: str, warned: int) -> None:
    """Only the messages of the worst level are the refusal; warnings blame nobody."""
    said = lines(output)
    assert refusal(said) == refused
    assert len([line for line in said if line.level == "warn"]) == warned
    assert warnings((Line("notice", "x"), *said[:warned])) == ("duplicate MIME type in /a:1",) * warned


_BIND = f"{_STAMP} [emerg] 7#7: bind() to 0.0.0.0:443 failed (98: in use)\n"


@pytest.mark.parametrize(
    ("output", "refused"),
    [
        ("", ""),
        (_WARN, ""),
        (_BIND * 4, ""),
        (_BIND * 5 + f"{_STAMP} [emerg] 7#7: still could not bind()\n", "bind() to 0.0.0.0:443 failed (98: in use)"),
        (f'{_STAMP} [emerg] 7#7: cache "a" had other levels\n', 'cache "a" had other levels'),
        (f"{_STAMP} [alert] 7#7: worker process 8 exited on signal 9\n", ""),
    ],
)  # fmt: skip
def test_a_refused_reload(output: str, refused: str) -> None:
    """A port is tried several times, everything else is final; what workers say is no refusal."""
    assert refused_reload(lines(output)) == refused


@pytest.mark.parametrize(
    ("said", "http3", "openssl"),
    [
        ("built with OpenSSL 3.5.1 1 Jul 2025", False, (3, 5, 1)),
        ("built with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.5.4 30 Sep 2025)", False, (3, 5, 4)),
        ("built with OpenSSL 3.5.1 (running with OpenSSL 3.0.19 27 Jan 2026)", False, (3, 0, 19)),
        ("built with OpenSSL 1.1.1w  11 Sep 2023", False, (1, 1, 1)),
        ("built with LibreSSL 4.1.0", False, ()),
        ("built with BoringSSL", False, ()),
        ("configure arguments: --prefix=/x --with-http_v3_module --with-x", True, ()),
        ("configure arguments: --prefix=/x --with-http_v2_module", False, ()),
        ("", False, ()),
    ],
)
def test_how_it_was_built(said: str, http3: bool, openssl: tuple[int, ...]) -> None:
    """HTTP/3 where the build has its module, and the version of OpenSSL that it runs with, none for another library."""
    assert build(f"nginx version: nginx/1.30.1\n{said}") == Build((1, 30, 1), http3, openssl)
    assert build(said) is None


def test_for_a_person() -> None:
    """Time and number of the process go; whatever else a line holds stays, and so do lines without them."""
    said = "2026/03/01 12:00:00 [emerg] 7#7: no [warn] 7#7: here\nnginx: [warn] as it is\nnginx: test failed\n"
    expected = "nginx: [emerg] no [warn] 7#7: here\nnginx: [warn] as it is\nnginx: test failed\n"
    assert nginx_output.for_a_person(said) == expected


def test_what_to_do() -> None:
    """Ports that this user may not have and addresses that nobody has are explained, and nothing else is."""
    assert "uid 101 may not listen there" in hint("bind() to 0.0.0.0:80 failed (13: Permission denied)", 101)
    assert "STATUS_ADDRESS" in hint("bind() to 192.0.2.1:81 failed (99: Cannot assign requested address)", 101)
    assert hint("bind() to 0.0.0.0:80 failed (98: Address already in use)", 101) == ""
