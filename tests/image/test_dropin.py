"""A stack that uses the official NGINX image can change the image's name and run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrypoint.demo.stage import NAME, fingerprint

from .engine import BASE, IMAGE
from .lab import Container, Lab

pytestmark = pytest.mark.engine

SITE = """server {
    listen 80;
    server_name shop.acme.io;
    location / { return 200 "the shop\\n"; }
}
"""
TEMPLATE = """server {
    listen 80;
    server_name ${SHOP_NAME};
    location / { return 200 "${SHOP_NAME} for $host\\n"; }
}
"""
READ_ONLY = ("--user", "101:101", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/run/certfront")


def _mounted(lab: Lab, files: Mapping[str, str], mode: int = 0o644) -> tuple[str, ...]:
    """Options that mount files at absolute paths of the container, each in a folder of its own on the host."""
    options: list[str] = []
    for path, text in files.items():
        source = lab.folder / path.strip("/").replace("/", "-")
        source.write_text(text)
        source.chmod(mode)
        options += ["-v", f"{source}:{path}:ro"]
    return tuple(options)


def _answers(front: Container, *, host: str) -> tuple[int, str]:
    code, _, text = front.http(host=host)
    return code, text


@pytest.mark.parametrize("image", [BASE, IMAGE])
class TestAsTheOfficialOne:
    """The official image (its stand-in) and ours answer alike."""

    def test_static_files(self, lab: Lab, image: str) -> None:
        """/usr/share/nginx/html is served on port 80, with nothing set."""
        page = _mounted(lab, {"/usr/share/nginx/html/index.html": "<h1>Hello</h1>\n"})
        with lab.run(*page, environment={}, image=image) as front:
            front.until(lambda: _answers(front, host="any.acme.io") == (200, "<h1>Hello</h1>\n"), "the page")

    def test_a_site_in_conf_d(self, lab: Lab, image: str) -> None:
        """conf.d/*.conf is read; the first server there is the one for all names."""
        site = _mounted(lab, {"/etc/nginx/conf.d/default.conf": SITE})
        with lab.run(*site, environment={}, image=image) as front:
            front.until(lambda: _answers(front, host="shop.acme.io") == (200, "the shop\n"), "the site")
            assert _answers(front, host="other.acme.io") == (200, "the shop\n")
            assert '"GET / HTTP/1.1" 200' in front.log()

    def test_templates(self, lab: Lab, image: str) -> None:
        """Templates are filled with what is defined; NGINX's own variables stay."""
        template = _mounted(lab, {"/etc/nginx/templates/default.conf.template": TEMPLATE})
        variables = {"SHOP_NAME": "shop.acme.io", "NGINX_ENVSUBST_FILTER": "^SHOP_"}
        with lab.run(*template, environment=variables, image=image) as front:
            wanted = (200, "shop.acme.io for shop.acme.io\n")
            front.until(lambda: _answers(front, host="shop.acme.io") == wanted, "the filled template")

    def test_an_own_root_file(self, lab: Lab, image: str) -> None:
        """A mounted nginx.conf is what runs."""
        text = f"events {{ }}\nhttp {{\n{SITE}\n}}\n"
        with lab.run(*_mounted(lab, {"/etc/nginx/nginx.conf": text}), environment={}, image=image) as front:
            front.until(lambda: _answers(front, host="shop.acme.io") == (200, "the shop\n"), "the site")

    def test_hooks(self, lab: Lab, image: str) -> None:
        """Scripts in /docker-entrypoint.d run in the order of their names; what is not executable does not."""
        hooks = {
            "/docker-entrypoint.d/40-export.envsh": "export GREETING=hello\n",
            "/docker-entrypoint.d/50-write.sh": '#!/bin/sh\necho "$GREETING from a hook" >/usr/share/nginx/html/hook\n',
        }
        idle = _mounted(lab, {"/docker-entrypoint.d/60-idle.sh": "#!/bin/sh\nexit 3\n"}, mode=0o644)
        with lab.run(*_mounted(lab, hooks, mode=0o755), *idle, environment={}, image=image) as front:
            front.until(lambda: front.http("/hook")[2] == "hello from a hook\n", "what the hook wrote")

    def test_the_usual_command(self, lab: Lab, image: str) -> None:
        """`nginx -g 'daemon off;'` as the command is NGINX and nothing else, hooks included."""
        site = _mounted(lab, {"/etc/nginx/conf.d/shop.conf": SITE})
        command = ("nginx", "-g", "daemon off;")
        with lab.run(*site, command=command, environment={}, image=image) as front:
            front.until(lambda: _answers(front, host="shop.acme.io") == (200, "the shop\n"), "the site")


def test_a_hook_that_fails(lab: Lab) -> None:
    """The container ends with the hook named, as a half-prepared one would be worse."""
    hook = _mounted(lab, {"/docker-entrypoint.d/40-broken.sh": "#!/bin/sh\nexit 3\n"}, mode=0o755)
    with lab.run(*hook) as front:
        assert front.ended() == 1
        assert "/docker-entrypoint.d/40-broken.sh failed with status 3" in front.log()


@pytest.mark.parametrize("options", [(), READ_ONLY])
def test_every_line_is_json(lab: Lab, options: tuple[str, ...]) -> None:
    """LOG_FORMAT=json: the shell's lines, hooks', and NGINX's."""
    hook = _mounted(lab, {"/docker-entrypoint.d/40-talk.sh": "#!/bin/sh\necho hello\n"}, mode=0o755)
    with lab.run(*hook, *options, environment={"LOG_FORMAT": "json"}) as front:
        front.until(lambda: front.http()[0], "an answer")
        front.stop()
        loggers = {json.loads(line)["logger"] for line in front.log().splitlines()}
        assert {"certfront.container", "/docker-entrypoint.d/40-talk.sh", "certfront.boot", "access"} <= loggers


def test_variables_of_hooks_reach_certfront(lab: Lab) -> None:
    """An *.envsh may set what certfront reads."""
    hook = _mounted(lab, {"/docker-entrypoint.d/40-name.envsh": "export SERVER_NAME=www.acme.io\n"}, mode=0o755)
    lab.put()
    environment = {name: value for name, value in lab.environment().items() if name != "SERVER_NAME"}
    with lab.run(*hook, *lab.key(), environment=environment) as front:
        front.until_serves(lab.issued)


def test_templates_on_a_read_only_root(lab: Lab) -> None:
    """They are filled into the run folder, and read from there."""
    template = _mounted(lab, {"/etc/nginx/templates/shop.conf.template": TEMPLATE})
    with lab.run(*READ_ONLY, *template, environment={"SHOP_NAME": "shop.acme.io"}) as front:
        wanted = (200, "shop.acme.io for shop.acme.io\n")
        front.until(lambda: _answers(front, host="shop.acme.io") == wanted, "the filled template")


def test_a_site_beside_the_built_in_one(lab: Lab) -> None:
    """With SERVER_NAME both are there: the built-in site by TLS, conf.d's by its name, the rest goes to HTTPS."""
    lab.put()
    with lab.run(*_mounted(lab, {"/etc/nginx/conf.d/shop.conf": SITE}), *lab.key()) as front:
        front.until_serves(lab.issued)
        assert _answers(front, host="shop.acme.io") == (200, "the shop\n")
        front.until(lambda: front.http(host=NAME)[0] == 301, "the redirect")


def test_a_tls_server_in_conf_d(lab: Lab) -> None:
    """A server in NGINX's own language, without its certificate: HTTP runs at once, CertMgr's comes in by itself."""
    text = SITE.replace("listen 80;", "listen 80; listen 443 ssl;\n    ssl_certificate cert.pem;").replace(
        "server_name shop.acme.io;",
        f"server_name {NAME}; ssl_certificate_key key.pem;\n    ssl_password_file ssl_pw.txt;",
    )
    environment = {name: lab.environment()[name] for name in ("CERTMGR_HOST", "CERTMGR_CHECK_INTERVAL")}
    with lab.run(*_mounted(lab, {"/etc/nginx/conf.d/shop.conf": text}), *lab.key(), environment=environment) as front:
        front.until_outcome("wrong-name")
        assert _answers(front, host=NAME) == (200, "the shop\n")
        lab.put()
        front.until(lambda: front.served() == fingerprint(lab.issued), "TLS")
        assert front.https() == "the shop\n"
        assert _answers(front, host=NAME) == (200, "the shop\n")
        assert Path(str(front.report()["certificates"][0]["name"])).name == NAME


@pytest.mark.parametrize("how", [(), READ_ONLY], ids=["root", "read-only"])
def test_nginxs_own_commands(lab: Lab, how: tuple[str, ...]) -> None:
    """`docker exec ... nginx` tests, shows and reloads what runs; the pid file lies where log rotations look for it."""
    text = SITE.replace("listen 80;", "listen 8080;\n    include snippets/proxy.conf;")
    site = _mounted(lab, {"/etc/nginx/conf.d/shop.conf": text})
    with lab.run(*how, *site, environment={"HTTP_PORT": "8080"}) as front:
        front.until(front.report, "the status")
        assert "nginx.conf test is successful" in front.execute("sh", "-c", "nginx -t 2>&1")
        assert "server_name shop.acme.io" in front.execute("nginx", "-T")
        assert front.execute("nginx", "-s", "reload") == ""
        assert front.execute("sh", "-c", "nginx -v 2>&1").startswith("nginx version:")
        assert front.execute("sh", "-c", "kill -USR1 $(cat /run/nginx.pid)") == ""
        front.execute("nginx", "-s", "quit")
        assert front.ended() == 0
