"""The rendered copy of the user's configuration: what runs stays as it is, what cannot is commented out, alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from entrypoint.core.conf.configuration import UserConfig, user_config
from entrypoint.core.conf.edit import Replace
from entrypoint.core.conf.includes import includes
from entrypoint.core.conf.paths import folder
from entrypoint.core.conf.syntax import Parsed, SyntaxFault, attempt, parse, walk
from entrypoint.core.generation.rewrite import Copier, Copy, PairFiles
from tests.support import rig

ROOT = "/etc/nginx/nginx.conf"
PAIR = "ssl_certificate a.crt; ssl_certificate_key a.key;"
A = "/etc/nginx/a.crt /etc/nginx/a.key"
USABLE = PairFiles(A, "certs/a/chain-1.pem", "certs/a/key-1.pem", "/run/pw.txt")


def source(root: str, files: Mapping[str, str] | None = None) -> UserConfig:
    """A configuration of a root file and others by path; an include matches what is named exactly."""
    texts = {ROOT: root, **(files or {})}
    parsed: dict[str, Parsed | SyntaxFault] = {path: attempt(text) for path, text in texts.items()}
    patterns = [p for each in parsed.values() if isinstance(each, Parsed) for p in includes(each, folder(ROOT))]
    matches = {pattern: [pattern] for pattern in patterns if pattern in texts}
    return user_config(ROOT, texts, matches)


def copied(
    what: UserConfig,
    *,
    pairs: Mapping[str, PairFiles] | None = None,
    blocked: Mapping[str, str] | None = None,
    **refusals: object,
) -> Copy:
    copier = Copier(rig.gate(what, blocked, **refusals), pairs or {})
    return copier.copy(http="", main="", keep_user=True)


def names(text: str) -> list[str]:
    """The directives that are left, with their arguments."""
    return [" ".join([each.name, *(word.value for word in each.args)]) for each in walk(parse(text).directives)]


def test_a_pair_that_is_usable() -> None:
    """Its words lead to the generation's files, and a password file is named for an encrypted key."""
    text = copied(source(f"http {{ server {{ listen 443 ssl; {PAIR} }} }}"), pairs={A: USABLE}).texts["nginx.conf"]
    assert "ssl_certificate certs/a/chain-1.pem" in names(text)
    assert "ssl_certificate_key certs/a/key-1.pem" in names(text)
    assert "ssl_password_file /run/pw.txt" in names(text)


def test_a_pair_that_is_blocked() -> None:
    """Its server goes, with the reason; the one beside it stays, byte for byte."""
    other = "server { listen 80; return 200 'a # b } c'; }"
    text = copied(source(f"http {{ server {{ listen 443 ssl; {PAIR} }} {other} }}"), blocked={A: "no key"}).texts[
        "nginx.conf"
    ]
    assert [name for name in names(text) if name.startswith(("server", "listen"))] == ["server", "listen 80"]
    assert other in text
    assert "# certfront: commented out: no key" in text


def test_plain_http_goes_on() -> None:
    """A server that listens with and without TLS loses its TLS listeners and its pair alone."""
    text = copied(source(f"http {{ server {{ listen 80; listen 443 ssl; {PAIR} }} }}"), blocked={A: "-"}).texts[
        "nginx.conf"
    ]
    assert names(text) == ["http", "server", "listen 80"]


def test_a_pair_of_http() -> None:
    """An inherited pair that is blocked goes with the TLS servers that need it; plain servers stay."""
    text = copied(
        source(f"http {{ {PAIR} server {{ listen 443 ssl; }} server {{ listen 80; }} }}"), blocked={A: "-"}
    ).texts["nginx.conf"]
    assert names(text) == ["http", "server", "listen 80"]


def test_paths() -> None:
    """Includes lead to the copies, other relative paths to the user's files."""
    files = {"/etc/nginx/more.conf": "server { auth_basic_user_file htpasswd; }"}
    found = copied(source("http { include more.conf; }", files)).texts
    assert set(found) == {"nginx.conf", "source/etc/nginx/more.conf"}
    assert "include source/etc/nginx/more.conf" in names(found["nginx.conf"])
    assert "auth_basic_user_file /etc/nginx/htpasswd" in names(found["source/etc/nginx/more.conf"])


def test_ours() -> None:
    """What only certfront can set is commented out."""
    text = copied(source("pid /a; daemon on; master_process off; user b;\nhttp { }")).texts["nginx.conf"]
    assert names(text) == ["user b", "http"]


@pytest.mark.parametrize("within", ["http {{ {} }}", "http {{ server {{ {} }} server {{ listen 80; }} }}"])
def test_a_missing_include(within: str) -> None:
    """It is commented out; within a server, the server is."""
    text = copied(source(within.format("include none.conf;"))).texts["nginx.conf"]
    assert names(text) in (["http"], ["http", "server", "listen 80"])
    assert 'open() "/etc/nginx/none.conf" failed' in text


def test_a_broken_file() -> None:
    """All of it is commented out, and named in what does not run."""
    what = source("http { include more.conf; }", {"/etc/nginx/more.conf": "server {\n"})
    text = copied(what).texts["source/etc/nginx/more.conf"]
    assert all(line.startswith("#") for line in text.splitlines())
    assert rig.gate(what).users_part.keys() == {"/etc/nginx/more.conf"}


def test_origins() -> None:
    """A line of a copy leads to the user's line, however much is put in above it."""
    what = source(f"http {{\nserver {{\nlisten 443 ssl;\n{PAIR}\n}}\nserver {{ listen 80; }}\n}}\n")
    copy = copied(what, blocked={A: "-"})
    line = copy.texts["nginx.conf"].splitlines().index("server { listen 80; }") + 1
    assert copy.origin("nginx.conf", line) == (ROOT, 6)
    assert copy.origin("site.conf", 1) is None


def test_what_nginx_refused() -> None:
    """A server or a file that is gated goes, with NGINX's reason."""
    files = {"/etc/nginx/more.conf": "upstream x { server none; }"}
    what = source("http { include more.conf; server { listen 80; } }", files)
    place = what.configuration.servers[0].place
    copy = copied(what, servers={place: "refused"}, files={"/etc/nginx/more.conf": "refused too"})
    assert names(copy.texts["nginx.conf"]) == ["http", "include source/etc/nginx/more.conf"]
    assert names(copy.texts["source/etc/nginx/more.conf"]) == []
    assert rig.gate(what, servers={place: "refused"}).servers == {place: "refused"}


def test_in_place_of_what_does_not_run() -> None:
    """What only a gated server said of a socket is said on: by a server that refuses all; the others stay untouched."""
    others = "server { listen 443; server_name b; ssl_certificate b.crt; ssl_certificate_key b.key; }"
    text = f"http {{ server {{ listen 80; listen 443 ssl default_server backlog=9; {PAIR} }} {others} }}"
    usable = {"/etc/nginx/b.crt /etc/nginx/b.key": PairFiles("b", "b.crt", "b.key")}
    found = copied(source(text), pairs=usable, blocked={A: "no"}).texts
    assert names(found["nginx.conf"])[:5] == ["http", "server", "listen 80", "server", "listen 443"]
    assert "include stand-ins-http.conf" in names(found["nginx.conf"])
    assert names(found["stand-ins-http.conf"]) == [
        "server",
        "listen 443 ssl default_server backlog=9",
        "server_name certfront-1.invalid",
        "ssl_reject_handshake on",
        "return 503",
    ]
    assert set(copied(source(text), pairs=usable, blocked={}).texts) == {"nginx.conf"}


def test_without_the_default_servers_pair() -> None:
    """A server that has no pair presents the default server's; where that is gone, it must not present another's."""
    bare = (
        "server { listen 443 ssl; server_name b; } server { listen 443 ssl; server_name c; ssl_reject_handshake on; }"
    )
    what = source(f"http {{ server {{ listen 443 ssl; {PAIR} }} {bare} }}")
    gone = rig.gate(what, {A: "no key"}).servers
    assert set(gone.values()) == {"no key"}
    assert [server.names for server in what.configuration.servers if server.place in gone] == [(), ("b",)]


def test_a_pair_of_http_that_nobody_takes() -> None:
    """It goes even where no server is left that inherits it: NGINX would load it for certfront's own servers."""
    tls, own = (
        "server { listen 443 ssl; }",
        "server { listen 444 ssl; ssl_certificate b.crt; ssl_certificate_key b.key; }",
    )
    usable = {"/etc/nginx/b.crt /etc/nginx/b.key": PairFiles("b", "b.crt", "b.key")}
    text = copied(source(f"http {{ {PAIR} {tls} {own} }}"), pairs=usable, blocked={A: "no key"}).texts["nginx.conf"]
    assert names(text)[:4] == ["http", "ssl_certificate_key /etc/nginx/a.key", "server", "listen 444 ssl"]
    text = copied(source(f"http {{ {PAIR} {own} }}"), pairs=usable).texts["nginx.conf"]
    assert "no server that runs takes it" in text
    text = copied(source(f"http {{ {PAIR} {tls} {own} }}"), pairs={**usable, A: USABLE}).texts["nginx.conf"]
    assert "ssl_certificate certs/a/chain-1.pem" in names(text)


def test_a_password_for_a_pair_of_http() -> None:
    """It is named where the pair is, once, for all servers that NGINX loads the pair for."""
    two = PAIR + " ssl_certificate b.crt; ssl_certificate_key b.key;"
    usable = {A: USABLE, "/etc/nginx/b.crt /etc/nginx/b.key": PairFiles("b", "b.crt", "b.key", "/run/pw.txt")}
    tls = "server { listen 443 ssl; }"
    text = copied(source(f"http {{ {two} {tls} {tls} }}"), pairs=usable).texts["nginx.conf"]
    assert names(text)[:2] == ["http", "ssl_password_file /run/pw.txt"]
    assert text.count("ssl_password_file") == 1
    text = copied(source(f"http {{ ssl_password_file own.txt; {PAIR} {tls} }}"), pairs=usable).texts["nginx.conf"]
    assert names(text)[:2] == ["http", "ssl_password_file /run/pw.txt"]
    assert text.count("ssl_password_file") == 1


def test_a_stand_in_leads_back() -> None:
    """A line of a stand-in leads to the user's `listen`, and to the servers that it is there for."""
    others = "server { listen 8080; server_name b; }\nserver { listen 81; server_name c; }"
    what = source(f"http {{ server {{\nlisten 8080 bogus default_server;\n}}\n{others} }}")
    copy = copied(what, servers={what.configuration.servers[0].place: "refused"})
    lines = copy.texts["stand-ins-http.conf"].splitlines()
    line = lines.index("    listen 8080 bogus default_server;") + 1
    assert copy.origin("stand-ins-http.conf", line) == (ROOT, 2)
    assert [server.names for server in copy.neighbours("stand-ins-http.conf", line)] == [("b",)]
    assert copy.neighbours("nginx.conf", 1) == ()


def test_servers_of_mail_on_one_socket() -> None:
    """NGINX refuses them: there is no stand-in, and nothing breaks."""
    other = "server { listen 25 ssl; ssl_certificate b.crt; ssl_certificate_key b.key; }"
    usable = {"/etc/nginx/b.crt /etc/nginx/b.key": PairFiles("b", "b.crt", "b.key")}
    text = f"mail {{ server {{ listen 25 ssl backlog=9; {PAIR} }} {other} }}"
    copy = copied(source(text), pairs=usable, blocked={A: "-"})
    assert names(copy.texts["nginx.conf"])[:3] == ["mail", "server", "listen 25 ssl"]
    assert copy.stand_ins == {}


def test_all_that_is_put_in_at_one_place() -> None:
    """In an empty block what goes to its beginning and what goes to its end are both there, in that order."""
    what = source("http {}")
    start = what.configuration.ends["http"][1]
    first = (ROOT, Replace(start, start, " log_format x y;"))
    copy = Copier(rig.gate(what), {}).copy(http="    include site.conf;\n", main="", keep_user=True, edits=[first])
    assert names(copy.texts["nginx.conf"]) == ["http", "log_format x y", "include site.conf"]


def test_the_first_servers_reason() -> None:
    """Of several servers that share a file the first one's reason counts, and none that is for what nobody says."""
    one, other = "server { include more.conf; ssl_certificate_key a.key; }", "server { include more.conf; }"
    what = source(
        f"http {{ {one} {other} }}", {"/etc/nginx/more.conf": "listen 443 ssl; listen 80; ssl_certificate a.crt;"}
    )
    text = copied(what, blocked={A: "no key"}).texts["source/etc/nginx/more.conf"]
    assert text.count("certfront: commented out") == 2
    assert text.count("certfront: commented out: no key") == 2
