"""Refusals of the real NGINX met in public projects' configurations, brought down to what they are about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from entrypoint.core.generation.blame import narrowed, remarks
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.nginx_output import lines, refusal, warnings
from entrypoint.edges import packaged
from tests.core.conf.configurations import ask_nginx
from tests.core.generation.test_rewrite import PAIR, A, copied, names, source
from tests.support import pki, rig

_GOOD = "server { listen 8080; return 204; }"


def _taken(folder: Path, text: str) -> tuple[Plan, list[str]] | None:
    """What is left of a plan once the real NGINX takes it, and the lines that NGINX warns of; None for nothing."""
    root, staged = folder / "nginx.conf", folder / "staged"
    root.write_text(text)
    settings = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=str(root))
    rig.run_folders(settings.run_dir)
    source = rig.config_files(settings).read()
    plan: Plan | None = Plan(settings, rig.facts(), packaged.packaged(), {}, {}, source)
    while plan:
        rig.write(staged, plan.files(1))
        said = ask_nginx(staged, plan.texts(1)["nginx.conf"])
        messages = lines(said.output)
        if said.taken:
            return plan, _lines(where for where, _ in remarks(plan, staged, warnings(messages)))
        plan = narrowed(plan, staged, refusal(messages))
    return None


def _lines(places: Iterable[str]) -> list[str]:
    return sorted(where.rpartition(":")[2] for where in places)


def _isolated(folder: Path, text: str) -> list[str]:
    """What is commented out once the real NGINX takes the rest: the lines, in order."""
    found = _taken(folder, text)
    return _lines(found[0].gate.commented_out) if found else ["all"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        ("listen 8443 ssl http2; ssl_reject_handshake on;", "", ["4"]),
        ("listen 8080; gzip_types text/html text/css;", "", ["4"]),
        ("listen 8080; listen 8081; server_name x;", "listen 8081; server_name x;", ["5"]),
        ("listen 8080; location /a { charset_types text/html; }", "", ["4"]),
        ("listen 8080; location / { expires 1d; }", "", []),
    ],
)
def test_a_warning_blames_nobody(tmp_path: Path, one: str, other: str, warned: list[str]) -> None:
    """Whatever NGINX warns of runs; only the server that it refuses goes, and each warning has its line."""
    servers = [f"server {{ {text} }}" for text in (one, other or "listen 8082;", "listen 8080; bogus;")]
    found = _taken(tmp_path, "events { }\nhttp {\n\n" + "\n".join(servers) + "\n}\n")
    assert found is not None
    plan, said = found
    assert _lines(plan.gate.commented_out) == ["6"]
    assert said == warned


def test_a_server_that_has_the_default_servers_pair() -> None:
    """Without a pair of its own, it goes with the default server of its socket, for the same reason."""
    bare = "server { listen 443; server_name b; }"
    what = source(f"http {{ server {{ listen 443 ssl; {PAIR} }} {bare} server {{ listen 80; }} }}")
    assert list(rig.gate(what, {A: "no key"}).servers.values()) == ["no key", "no key"]
    assert names(copied(what, blocked={A: "no key"}).texts["nginx.conf"]) == ["http", "server", "listen 80"]


@pytest.mark.process
def test_a_log_whose_folder_is_missing(tmp_path: Path) -> None:
    """NGINX names the file alone: the server that writes it goes."""
    bad = "server { listen 8080; access_log /nowhere/at/all.log; }"
    assert _isolated(tmp_path, f"events {{ }}\nhttp {{\n{_GOOD}\n{bad}\n}}\n") == ["4"]


@pytest.mark.process
def test_an_upstream_that_is_unknown(tmp_path: Path) -> None:
    """In the root file, the block goes and the servers that need it; the others run."""
    bad = "upstream app { server app.invalid:80; }\nserver { listen 8080; location / { proxy_pass http://app; } }"
    assert _isolated(tmp_path, f"events {{ }}\nhttp {{\n{_GOOD}\n{bad}\n}}\n") == ["4", "5"]


@pytest.mark.process
def test_a_path_that_ends_as_another(tmp_path: Path) -> None:
    """The server of `b-a.pem`, which does not exist, goes; that of `a.pem` does not."""
    issued = pki.issue(rig.NAME, pki.root(), key=pki.ec_key(45))
    (tmp_path / "a.pem").write_bytes(rig.usable(issued).chain_pem + pki.key_pem(issued.key))
    one, other = (
        f"server {{ listen 8080; location / {{ proxy_pass https://127.0.0.1; "
        f"proxy_ssl_certificate {name}; proxy_ssl_certificate_key {name}; }} }}"
        for name in ("a.pem", "b-a.pem")
    )
    assert _isolated(tmp_path, f"events {{ }}\nhttp {{\n{one}\n{other}\n}}\n") == ["4"]


@pytest.mark.process
def test_a_listen_line_that_others_need(tmp_path: Path) -> None:
    """Nobody can say for a socket what NGINX refuses: with the server that does go those on the same one, no others."""
    bad = "server {\nlisten 8080 bogus default_server;\n}"
    text = f"events {{ }}\nhttp {{\n{bad}\n{_GOOD}\n{_GOOD.replace('8080', '8081')}\n}}\n"
    assert _isolated(tmp_path, text) == ["3", "6"]


@pytest.mark.process
def test_a_file_whose_name_begins_with_a_dollar(tmp_path: Path) -> None:
    """NGINX knows no variables in an include: it is a file like any other."""
    (tmp_path / "$x.conf").write_text("return 204;\n")
    assert _isolated(tmp_path, "events { }\nhttp {\nserver { listen 8080; include $x.conf; }\n}\n") == []


_TLS = "ssl_reject_handshake on;"


@pytest.mark.process
@pytest.mark.parametrize(
    ("outside", "inside", "left_out"),
    [
        ("", "ssl_ciphers PROFILE=SYSTEM;", ["4"]),
        ("ssl_ciphers 'PROFILE=SYSTEM';", "", ["3"]),
        ("ssl_ciphers PROFILE=SYSTEM;", 'ssl_ciphers "PROFILE=SYSTEM";', ["3", "4"]),
        ("", "ssl_ciphers PROFILE=SYSTEM:!aNULL;", ["4"]),
        ("", "location / { proxy_pass https://127.0.0.1; proxy_ssl_ciphers PROFILE=SYSTEM; }", ["4"]),
        ("", "location / { uwsgi_pass suwsgi://127.0.0.1:1; uwsgi_ssl_ciphers PROFILE=SYSTEM; }", ["4"]),
        ("", "ssl_conf_command CipherString PROFILE=SYSTEM;", ["4"]),
        ("", "include ciphers.conf;", ["1"]),
        ("", "ssl_ciphers PROFILE=SYSTEM; } server { listen 8444 ssl; ssl_ciphers PROFILE=OTHER;" + _TLS, ["4", "4"]),
        ("} stream {", "proxy_pass 127.0.0.1:1; proxy_ssl on; proxy_ssl_ciphers PROFILE=SYSTEM;", ["4"]),
    ],
)
def test_a_cipher_profile(tmp_path: Path, outside: str, inside: str, left_out: list[str]) -> None:
    """Where this OpenSSL does not know one, it alone is left out with a warning, and the server runs."""
    (tmp_path / "ciphers.conf").write_text("ssl_ciphers PROFILE=SYSTEM;\n")
    own = "listen 8443;" if "stream" in outside else f"listen 8443 ssl; {_TLS}"
    found = _taken(tmp_path, f"events {{ }}\nhttp {{\n{outside}\nserver {{ {own} {inside} }}\n}}\n")
    assert found is not None
    assert found[0].gate.commented_out == {}
    assert _lines(where for where, why in found[0].warnings() if "Red Hat" in why) == left_out
    assert Refusals.from_json(found[0].refusals.as_json()) == found[0].refusals


@pytest.mark.process
@pytest.mark.parametrize("setting", ["ssl_ciphers nonsense;", "ssl_ciphers PROFIL=SYSTEM;"])
def test_other_ciphers_are_not_left_out(tmp_path: Path, setting: str) -> None:
    """Any other value that OpenSSL does not know is no reason to serve with other ciphers than were asked for."""
    found = _taken(tmp_path, f"events {{ }}\nhttp {{\n{_GOOD}\nserver {{ listen 8443 ssl; {_TLS} {setting} }}\n}}\n")
    assert found is None or list(found[0].gate.commented_out) == [f"{tmp_path}/nginx.conf:4"]
