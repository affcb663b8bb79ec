"""A front with a configuration of the user's, and what can be asked of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, certificate_pem, encrypted_pem
from entrypoint.demo.stage import fingerprint
from entrypoint.demo.standin import Credential
from tests.support.front import PASSWORD, Front, presented
from tests.support.pki import cached_key

ROOT = """# The user's own.
user nobody nogroup;
worker_processes 1;
pid /nowhere/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    ssl_password_file ssl_pw.txt;
    server {{ listen {http} default_server; server_name plain.acme.io; return 200 "plain\\n"; }}
    include conf.d/*.conf;
}}
"""
SERVER = """server {{
    listen {https} ssl;
    server_name {name};
    ssl_certificate {name}.crt;
    ssl_certificate_key {name}.key;
    return 200 "{name}\\n";
}}
"""


class User(Front):
    """A front whose configuration is the user's: files in `etc`."""

    def __init__(self, **environment: str | None) -> None:
        site = {} if environment.get("SERVER_NAME") else {"KEY_FILE": None}
        super().__init__({"SERVER_NAME": None, "UPSTREAM": None, **site, **environment})
        self.etc = self.folder / "etc"
        (self.etc / "conf.d").mkdir(parents=True)
        self.environment = {
            **self.environment,
            "NGINX_CONF": str(self.etc / "nginx.conf"),
            "KEY_PASSWORD_FILE": str(self.etc / "ssl_pw.txt"),
        }
        self.put_file("nginx.conf", ROOT)
        (self.etc / "ssl_pw.txt").write_bytes(PASSWORD + b"\n")

    def put_file(self, path: str, text: str, **values: object) -> Path:
        """A file of the user's, as an editor replaces it; the ports are known in it."""
        known = {"http": self.http_port, "https": self.https_port, **values}
        new, target = self.etc / f".{Path(path).name}.new", self.etc / path
        new.write_text(text.format(**known))
        return new.rename(target)

    def site(self, name: str, kind: KeyType = KeyType.ECDSA, *, own: bool = False) -> Issued:
        """A server with an encrypted key; with ``own``, its certificate is there as well."""
        issued = self.authority.issue(name, key=cached_key(kind, name))
        (self.etc / f"{name}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
        if own:
            (self.etc / f"{name}.crt").write_bytes(certificate_pem(*issued.chain[:-1]))
        self.put_file(f"conf.d/{name}.conf", SERVER, name=name)
        return issued

    def give(self, issued: Issued, name: str) -> None:
        """Lets CertMgr have a certificate for a name."""
        self.certmgr.put(Credential((name,), issued.key, issued.chain))

    def serves(self, issued: Issued, name: str, ciphers: str | None = None) -> bool:
        try:
            chain = presented(self.https_port, name, ciphers)
        except OSError:
            return False
        return hashlib.sha256(chain[0]).hexdigest() == fingerprint(issued)

    def plain(self) -> bool:
        return self.http()[::2] == (200, "plain\n")

    def entry(self, name: str) -> dict[str, object]:
        return next((dict(each) for each in self.report().get("certificates", []) if each["name"] == name), {})

    def commented_out(self) -> dict[str, str]:
        return self._said("commented_out")

    def warnings(self) -> dict[str, str]:
        return self._said("warnings")

    def _said(self, kind: str) -> dict[str, str]:
        found = self.report().get("configuration", {}).get(kind, [])
        files = [each for each in found if each["where"].startswith("/")]  # others are of variables
        return {str(Path(each["where"]).name): each["reason"] for each in files}

    def newest(self) -> int:
        """The highest number of a generation that was ever staged, refused or not."""
        return max(int(path.name) for path in (self.folder / "state" / "generations").glob("[0-9]*"))

    def bytes(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.etc.rglob("*")) if path.is_file()}
