"""HCL's own example of a configuration comes up with CERTMGR_HOST and CERTMGR_LOOKUP alone."""

from __future__ import annotations

from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME
from entrypoint.demo.standin import Credential
from tests.support.front import PASSWORD
from tests.support.user import User

# After examples/nginx/nginx.conf of HCL-TECH-SOFTWARE/domino-cert-manager, with paths, ports and the user of this test.
EXAMPLE = """
user nobody nogroup;
worker_processes auto;
error_log error.log;
pid /run/nginx.pid;

events {{
    worker_connections 1024;
}}

http {{
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer"';
    access_log  access.log  main;
    sendfile            on;
    types_hash_max_size 4096;
    default_type        application/octet-stream;

    server {{
        listen {http} default_server;
        server_name _;

        location /.well-known/acme-challenge/ {{
            return 301 https://certmgr.acme.com$request_uri;
        }}

        location / {{
            return 301 https://$host$request_uri;
        }}
    }}

    server {{
        listen            {https} ssl http2;
        server_name  _;
        root         html;

        ssl_certificate     cert.pem;
        ssl_certificate_key key.pem;
        ssl_password_file   ssl_pw.txt;

        ssl_session_cache   shared:SSL:1m;
        ssl_session_timeout 10m;

        ssl_ciphers PROFILE=SYSTEM;
        ssl_prefer_server_ciphers on;

        error_page 404 /404.html;
            location = /40x.html {{
        }}
    }}
}}
"""


def _put(user: User) -> None:
    (user.etc / "html").mkdir()
    user.put_file("nginx.conf", EXAMPLE)
    user.issued = user.authority.issue(NAME, key=user.issued.key)
    (user.etc / "key.pem").write_bytes(encrypted_pem(user.issued.key, PASSWORD))


def test_the_example() -> None:
    """Port 80 at once, TLS with the first certificate for CERTMGR_LOOKUP, and every renewal after it."""
    with User(CERTMGR_LOOKUP=NAME) as user:
        _put(user)
        user.start()
        user.until(lambda: user.http("/x")[1].get("Location") == f"https://{NAME}/x", "port 80")
        user.until(lambda: user.entry(NAME).get("outcome") == "wrong-name", "the default certificate is not taken")
        user.put(user.issued)
        user.until(lambda: user.serves(user.issued, NAME), "TLS")
        user.until(lambda: user.entry(NAME).get("state") == "serving", "the status")
        assert user.entry(NAME)["source"] == "certmgr"
        assert user.commented_out() == {}
        assert any("PROFILE=SYSTEM" in reason for reason in user.warnings().values())
        first, second = user.issued, user.renew()
        assert first != second
        user.until(lambda: user.serves(second, NAME), "the renewal")
        user.certmgr.stop()
        user.stop()
        user.start()
        user.until(lambda: user.serves(second, NAME), "TLS after a restart without CertMgr")


def test_the_example_without_a_name_to_ask_for(user: User) -> None:
    """The hint names the variable and the comment; with the comment it comes up as well."""
    _put(user)
    user.certmgr.put(Credential((NAME,), user.issued.key, user.issued.chain))
    user.start()
    user.until(lambda: user.entry("cert.pem").get("outcome") == "config-rejected", "the outcome")
    hint = str(user.entry("cert.pem")["hint"])
    assert "CERTMGR_LOOKUP" in hint
    assert "# certfront: lookup=NAME" in hint
    user.put_file("nginx.conf", EXAMPLE.replace("html;", f"html; # certfront: lookup={NAME}"))
    user.until(lambda: user.serves(user.issued, NAME), "TLS")
