"""Refusals of the real NGINX met in public projects' configurations, brought down to what they are about."""

from __future__ import annotations

from pathlib import Path

from entrypoint.core.gate import Gates, blocked_servers
from entrypoint.core.plan import Plan
from entrypoint.edges import source as packaged
from entrypoint.edges.configuration import UserConfiguration
from entrypoint.isolate import narrowed
from tests import pki
from tests.faults import rig

from .configurations import ask_nginx
from .test_copy import PAIR, A, copied, names, source

_GOOD = "server { listen 8080; return 204; }"


def _isolated(folder: Path, text: str) -> list[str]:
    """What is commented out once the real NGINX takes the rest: the lines, in order."""
    root, staged = folder / "nginx.conf", folder / "staged"
    root.write_text(text)
    settings = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=str(root))
    rig.run_folders(settings.run_dir)
    plan: Plan | None = Plan(settings, rig.facts(), packaged.packaged(), {}, {}, UserConfiguration(settings, {}).read())
    while plan:
        rig.write(staged, plan.files(1))
        said = ask_nginx(staged, plan.texts(1)["nginx.conf"])
        if said.taken:
            return sorted(where.rpartition(":")[2] for where in plan.commented_out())
        plan = narrowed(plan, staged, said.output)
    return ["all"]


def test_a_server_that_has_the_default_servers_pair() -> None:
    """Without a pair of its own, it goes with the default server of its socket, for the same reason."""
    bare = "server { listen 443; server_name b; }"
    what = source(f"http {{ server {{ listen 443 ssl; {PAIR} }} {bare} server {{ listen 80; }} }}")
    assert list(blocked_servers(what, {A: "no key"}, Gates()).values()) == ["no key", "no key"]
    assert names(copied(what, blocked={A: "no key"}).texts["nginx.conf"]) == ["http", "server", "listen 80"]


def test_a_log_whose_folder_is_missing(tmp_path: Path) -> None:
    """NGINX names the file alone: the server that writes it goes."""
    bad = "server { listen 8080; access_log /nowhere/at/all.log; }"
    assert _isolated(tmp_path, f"events {{ }}\nhttp {{\n{_GOOD}\n{bad}\n}}\n") == ["4"]


def test_an_upstream_that_is_unknown(tmp_path: Path) -> None:
    """In the root file, the block goes and the servers that need it; the others run."""
    bad = "upstream app { server app.invalid:80; }\nserver { listen 8080; location / { proxy_pass http://app; } }"
    assert _isolated(tmp_path, f"events {{ }}\nhttp {{\n{_GOOD}\n{bad}\n}}\n") == ["4", "5"]


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


def test_a_listen_line_that_others_need(tmp_path: Path) -> None:
    """Nobody can say for a socket what NGINX refuses: with the server that does go those on the same one, no others."""
    bad = "server {\nlisten 8080 bogus default_server;\n}"
    text = f"events {{ }}\nhttp {{\n{bad}\n{_GOOD}\n{_GOOD.replace('8080', '8081')}\n}}\n"
    assert _isolated(tmp_path, text) == ["3", "6"]


def test_a_file_whose_name_begins_with_a_dollar(tmp_path: Path) -> None:
    """NGINX knows no variables in an include: it is a file like any other."""
    (tmp_path / "$x.conf").write_text("return 204;\n")
    assert _isolated(tmp_path, "events { }\nhttp {\nserver { listen 8080; include $x.conf; }\n}\n") == []
