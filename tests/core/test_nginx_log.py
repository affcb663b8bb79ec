"""NGINX's messages: what of them is a refusal, and what a warning."""

from __future__ import annotations

import pytest

from entrypoint.core.nginx_log import Line, lines, refusal, warnings

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
