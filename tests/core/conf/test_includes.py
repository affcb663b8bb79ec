"""Files put together: what includes what, what lies in what, and which words are paths."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrypoint.core.conf.includes import Fault, Setting, Survey, Tree, includes, is_glob
from entrypoint.core.conf.paths import folder, full_name, path_word
from entrypoint.core.conf.syntax import parse
from tests.core.conf.configurations import NGINX, ROOT, ask_nginx, load

NESTED = {
    "nginx.conf": "include main.conf;\nevents { }\nhttp {\n  include conf.d/*.conf;\n  include tail.conf;\n}\n",
    "main.conf": "pid nginx.pid;",
    "conf.d/b.conf": "server { listen unix:b.sock; include snippets/common.conf; }",
    "conf.d/a.conf": "include snippets/map.conf;\nserver { listen unix:a.sock; include snippets/common.conf; }",
    "snippets/map.conf": "map $uri $x { include maps/*.map; default 0; }",
    "snippets/common.conf": "include snippets/deeper.conf; location / { include snippets/deeper.conf; }",
    "snippets/deeper.conf": "root /srv;",
    "maps/one.map": "include maps/two.list;\nssl_certificate is-data.pem;",
    "maps/two.list": "/a 1;",
    "tail.conf": "# nothing",
    "unused.conf": "server { }",
}


def _tree(texts: Mapping[str, str]) -> Tree:
    return Tree(ROOT, *load(texts))


def _survey(texts: Mapping[str, str]) -> Survey:
    return _tree(texts).survey()


def _about(fault: Fault) -> tuple[str, int, str]:
    return fault.file.removeprefix("/etc/nginx/"), fault.line, fault.message


def test_includes() -> None:
    """A text's patterns are relative to the root's folder, wherever the text lies; each is told once."""
    text = "include a.conf;\nhttp { include /b/*.conf; server { include 'c d.conf'; include a.conf; } }"
    assert includes(parse(text), "/etc/nginx/") == ("/etc/nginx/a.conf", "/b/*.conf", "/etc/nginx/c d.conf")
    odd = "include; include a b; include { a; } map $a $include { x include; }"
    assert includes(parse(odd), "/") == ()


@pytest.mark.parametrize(
    ("pattern", "glob"), [("/a/*.conf", True), ("/a?", True), ("/[ab]", True), ("/{a,b}", False), ("/a", False)]
)
def test_globs(pattern: str, glob: bool) -> None:
    """NGINX looks for a star, a question mark or an opening bracket; all else is the name of one file."""
    assert is_glob(pattern) == glob


def test_names() -> None:
    """Paths are put together and not resolved, as NGINX does it."""
    assert folder(ROOT) == "/etc/nginx/"
    assert folder("/nginx.conf") == "/"
    assert full_name("../x//y", "/etc/nginx/") == "/etc/nginx/../x//y"
    assert full_name("/x", "/etc/nginx/") == "/x"


@pytest.mark.process
def test_files_as_nginx_reads_them(tmp_path: Path) -> None:
    """The files that count are those that NGINX reads, in its order: nested, by pattern, and in data."""
    root = str(tmp_path / "nginx.conf")
    for name, text in NESTED.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    command = [NGINX, "-T", "-c", root, "-p", str(tmp_path), "-e", "stderr"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, check=False, text=True)
    assert done.returncode == 0, done.stderr
    files, matches = load({str(tmp_path / name): text for name, text in NESTED.items()}, root)
    survey = Tree(root, files, matches).survey()
    assert list(survey.files) == re.findall(r"# configuration file (.*):\n", done.stdout)
    assert survey.faults == ()


def test_levels() -> None:
    """Settings are seen through all includes, each with its file, and blocks are looked into one by one."""
    tree = _tree(NESTED)
    assert [setting.name for setting in tree.main] == ["include", "pid", "events", "http"]
    inside = tree.inside(tree.main[-1])
    servers = [setting for setting in inside if setting.name == "server"]
    assert [server.file for server in servers] == ["/etc/nginx/conf.d/a.conf", "/etc/nginx/conf.d/b.conf"]
    common = tree.inside(servers[0])
    assert [(setting.name, setting.value) for setting in common] == [
        ("listen", "unix:a.sock"),
        ("include", "snippets/common.conf"),
        ("include", "snippets/deeper.conf"),
        ("root", "/srv"),
        ("location", "/"),
    ]
    assert tree.inside(common[0]) == ()


def test_a_setting() -> None:
    """A setting without arguments has no value, and one with a block says so."""
    bare, block = (Setting("f", directive) for directive in parse("a; b c {}").directives)
    assert (bare.value, bare.words, bare.is_block, bare.place) == ("", (), False, ("f", 0))
    assert (block.value, block.is_block, block.place) == ("c", True, ("f", 3))


def test_faults() -> None:
    """A file that cannot be read or parsed is a fault with its place and all around it; the rest is read."""
    survey = _survey(
        {
            "nginx.conf": "http {\n  include conf.d/*.conf;\n  include gone.conf;\n include none/*.conf;\n}\n",
            "conf.d/bad.conf": "server {\n  listen 80;\n",
            "conf.d/good.conf": "server {\n  location / {\n    include lost.conf; } }",
        }
    )
    assert [_about(fault) for fault in survey.faults] == [
        ("conf.d/bad.conf", 3, 'unexpected end of file, expecting "}"'),
        ("conf.d/good.conf", 3, 'open() "/etc/nginx/lost.conf" failed'),
        ("nginx.conf", 3, 'open() "/etc/nginx/gone.conf" failed'),
    ]
    around = [[(setting.name, setting.value) for setting in fault.within] for fault in survey.faults]
    assert around[0] == [("http", ""), ("include", "conf.d/*.conf")]
    assert around[1][2:] == [("server", ""), ("location", "/"), ("include", "lost.conf")]
    assert [file.removeprefix("/etc/nginx/") for file in survey.files] == [
        "nginx.conf",
        "conf.d/bad.conf",
        "conf.d/good.conf",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", ()), ("}", ((ROOT, 1, 'unexpected "}"'),)), (None, ((ROOT, 0, f'open() "{ROOT}" failed'),))],
)
def test_the_root(text: str | None, fault: tuple[tuple[str, int, str], ...]) -> None:
    """A root that is empty is no fault; one that cannot be parsed, or is not there, is one."""
    tree = _tree({} if text is None else {"nginx.conf": text})
    assert tuple((one.file, one.line, one.message) for one in tree.survey().faults) == fault
    assert tree.main == ()


def test_cycles() -> None:
    """A file that includes itself, by itself or by way of others, is a fault, and is not read for ever."""
    tree = _tree(
        {
            "nginx.conf": "include a.conf;\nhttp { server {\n include self.conf; } }\n",
            "a.conf": "include b.conf;\n",
            "b.conf": "# b\ninclude a.conf;\n",
            "self.conf": "include self.conf; x y;",
        }
    )
    assert [_about(fault) for fault in tree.survey().faults] == [
        ("b.conf", 2, '"/etc/nginx/a.conf" includes itself'),
        ("self.conf", 1, '"/etc/nginx/self.conf" includes itself'),
    ]
    assert [setting.name for setting in tree.main] == ["include", "include", "include", "http"]
    server = tree.inside(tree.main[-1])[0]
    assert [setting.name for setting in tree.inside(server)] == ["include", "include", "x"]
    own = _tree({"nginx.conf": "include nginx.conf;"})
    assert [setting.name for setting in own.main] == ["include"]
    assert [_about(fault)[0] for fault in own.survey().faults] == ["nginx.conf"]


def test_too_deep() -> None:
    """Blocks and includes that go on and on are a fault, not a crash."""
    message = "more than 100 blocks and includes lie within each other"
    depth = 1_000
    assert [_about(fault) for fault in _survey({"nginx.conf": "\na{" * depth + "}" * depth}).faults] == [
        ("nginx.conf", 102, message)
    ]
    chain = {f"{number}.conf": f"include {number + 1}.conf; x;" for number in range(depth)}
    tree = _tree({"nginx.conf": "include 0.conf;", **chain})
    assert [_about(fault) for fault in tree.survey().faults] == [("99.conf", 1, message)]
    assert len(tree.main) < 400


@pytest.mark.parametrize(
    ("directive", "path"),
    [
        ("include conf.d/*.conf", "conf.d/*.conf"),
        ("ssl_certificate a.pem", "a.pem"),
        ("ssl_certificate /a.pem", "/a.pem"),
        ("ssl_certificate data:$x", None),
        ("ssl_certificate $x.pem", None),
        ("ssl_certificate ''", None),
        ("ssl_certificate", None),
        ("ssl_certificate certs/$ssl_server_name.pem", "certs/$ssl_server_name.pem"),
        ("ssl_certificate $ssl_server_name.pem", "$ssl_server_name.pem"),
        ("ssl_certificate ${ssl_server_name}_x.pem", "${ssl_server_name}_x.pem"),
        ("ssl_certificate $ssl_server_name_x.pem", None),
        ("ssl_certificate_key engine:e:k", None),
        ("ssl_certificate_key store:pkcs11:k", None),
        ("ssl_password_file pw", "pw"),
        ("ssl_client_certificate a", "a"),
        ("ssl_trusted_certificate a", "a"),
        ("ssl_crl a", "a"),
        ("ssl_dhparam a", "a"),
        ("ssl_stapling_file a", "a"),
        ("ssl_session_ticket_key a", "a"),
        ("ssl_ech_file a", "a"),
        ("quic_host_key a", "a"),
        ("auth_basic_user_file a", "a"),
        ("proxy_ssl_certificate a", "a"),
        ("proxy_ssl_certificate_key a", "a"),
        ("grpc_ssl_trusted_certificate a", "a"),
        ("uwsgi_ssl_crl a", "a"),
        ("proxy_ssl_password_file a", "a"),
        ("ssl_conf_command VerifyCAFile a", "a"),
        ("proxy_ssl_conf_command certificate a", "a"),
        ("ssl_conf_command Options PrioritizeChaCha", None),
        ("js_import a.js", "a.js"),
        ("js_import a from b.js", "b.js"),
        ("js_import", None),
        ("js_path a", "a"),
        ("js_fetch_trusted_certificate a", "a"),
        ("lua_ssl_trusted_certificate a", "a"),
        ("auth_jwt_key_file a", "a"),
        ("trusted_certificate a", "a"),
        ("account_key rsa:2048", None),
        ("account_key ecdsa", None),
        ("account_key rsa.pem", "rsa.pem"),
        ("external_account_key kid a", "a"),
        ("root html", None),
        ("error_log logs/error.log", None),
        ("load_module modules/x.so", None),
    ],
)
def test_path_words(directive: str, path: str | None) -> None:
    """The words that NGINX takes for paths in its configuration's folder are known, and no other words are."""
    word = path_word(parse(f"{directive};").directives[0])
    assert (word.value if word else None) == path


BACKENDS = {
    "proxy": "location / { proxy_pass https://127.0.0.1; proxy_ssl_verify on; }",
    "grpc": "location / { grpc_pass grpcs://127.0.0.1:1; grpc_ssl_verify on; }",
    "uwsgi": "location / { uwsgi_pass suwsgi://127.0.0.1:1; uwsgi_ssl_verify on; }",
}
TLS = "listen unix:s.sock ssl; ssl_reject_handshake on; ssl_verify_client optional_no_ca;"


@pytest.mark.process
@pytest.mark.parametrize(
    "directive",
    [
        "include missing",
        "auth_jwt_key_file missing",
        "js_import missing.js",
        "ssl_certificate missing",
        "ssl_client_certificate missing",
        "ssl_conf_command VerifyCAFile missing",
        "ssl_crl missing",
        "ssl_dhparam missing",
        "ssl_password_file missing",
        "ssl_session_ticket_key missing",
        "ssl_trusted_certificate missing",
        "proxy_ssl_trusted_certificate missing",
        "grpc_ssl_trusted_certificate missing",
        "uwsgi_ssl_trusted_certificate missing",
    ],
)
def test_paths_for_nginx(tmp_path: Path, directive: str) -> None:
    """NGINX does look for these in its configuration's folder, and not in its prefix, which has them all."""
    conf, prefix = tmp_path / "conf", tmp_path / "prefix"
    conf.mkdir()
    prefix.mkdir()
    (prefix / "missing").touch()
    (prefix / "missing.js").touch()
    others = BACKENDS.get(directive.split("_", maxsplit=1)[0], "")
    others += "ssl_certificate_key k;" if directive.startswith("ssl_certificate") else ""
    text = f"events {{}} http {{ server {{ {TLS} {others} {directive}; }} }}"
    said = ask_nginx(conf, text.replace("s.sock", str(tmp_path / "s")), prefix)
    assert f"{conf}/missing" in said.output or ("missing.js" in directive and not said.taken)
    assert f"{prefix}/missing" not in said.output
    word = path_word(parse(f"{directive};").directives[0])
    assert word is not None
    assert word.value in ("missing", "missing.js")


def test_paths() -> None:
    """Paths are found at all depths, once for each place; what looks like one within data is none, but for includes."""
    paths = _survey(NESTED | {"tail.conf": "server { location / { auth_basic_user_file pw; } ssl_crl x; }"}).paths
    found = {
        file.removeprefix("/etc/nginx/"): [(path.directive.name, path.word.value) for path in words]
        for file, words in paths.items()
    }
    assert found == {
        "nginx.conf": [("include", "main.conf"), ("include", "conf.d/*.conf"), ("include", "tail.conf")],
        "conf.d/a.conf": [("include", "snippets/map.conf"), ("include", "snippets/common.conf")],
        "conf.d/b.conf": [("include", "snippets/common.conf")],
        "snippets/map.conf": [("include", "maps/*.map")],
        "snippets/common.conf": [("include", "snippets/deeper.conf"), ("include", "snippets/deeper.conf")],
        "maps/one.map": [("include", "maps/two.list")],
        "tail.conf": [("auth_basic_user_file", "pw"), ("ssl_crl", "x")],
    }
