"""The built-in site and certfront's own server: NGINX configuration, filled from templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from urllib.parse import urlsplit

from entrypoint.core.conf.configuration import UserConfig, user_config
from entrypoint.core.conf.edit import CommentOut, render
from entrypoint.core.conf.paths import folder
from entrypoint.core.conf.syntax import parse
from entrypoint.core.facts import Facts
from entrypoint.core.generation.gate import Gate
from entrypoint.core.generation.inheritance import not_inherited
from entrypoint.core.generation.rewrite import PairFiles
from entrypoint.core.generation.surroundings import Surroundings
from entrypoint.core.settings import HTTPS, NGINX_SOCKET, REFUSALS, Settings

HTTP2_DIRECTIVE = (1, 25, 1)
KEEPALIVE_MIN_TIMEOUT = OBJECT_CACHE = (1, 27, 4)
HTML_ROOT = "/usr/share/nginx/html"
JSON_FORMAT = "certfront_access"  # of access lines in the user's configuration, see `access_lines`
_DEFAULT_LOG = "/var/log/nginx/access.log"  # where the official image's NGINX logs to if nothing is said
_PAIR = ("ssl_certificate", "ssl_certificate_key")
HYBRID_GROUP = (3, 5)  # OpenSSL's version that brought it
# Mozilla's profile; the first is safe from quantum computers.
_CURVES = ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")
NOFILE = 16384  # descriptors of a worker: two for each of its connections, and some for files
_SOCKET_ADDRESS = 107  # bytes, unix(7)
HSTS = "max-age=63072000"  # two years, as Mozilla's profiles have it: for users who include the snippet without HSTS


class _Template(Template):
    delimiter = "@"
    pattern = r"@(?:(?P<escaped>@)|(?P<named>\b\B)|\{(?P<braced>[a-z0-9_]+)\}|(?P<invalid>\b\B))"  # type: ignore[assignment]


@dataclass(frozen=True)
class Site:
    """The built-in servers, with ``templates`` by path and ``pairs``, without the parts behind the ``gate``."""

    settings: Settings
    facts: Facts
    templates: Mapping[str, str] = field(repr=False)
    pairs: tuple[PairFiles, ...]
    gate: Gate

    def files(self, generation: int, when: str, user: Surroundings) -> dict[str, str]:
        """The files of the built-in site and the snippets, by the paths at which the configuration includes them.

        Parts that need a missing credential are commented out, below the reason and ``when``.
        """
        values = _values(
            self.settings, self.facts, self.templates, live=self.gate.tls, generation=generation, user=user
        )
        values |= {"pairs": _pair_lines(self.pairs), "server_names": " ".join(self.gate.coverage.site_names)}
        servers = (*_servers_before(self.settings, user), *(("site-tls",) if self.pairs else ()))
        site = "".join(fill(self.templates[f"templates/{name}.conf"], values) for name in servers)
        files = {
            "status.conf": fill(self.templates["templates/status.conf"], values),
            "variables.conf": fill(self.templates["templates/variables.conf"], values),
            "site.conf": self._gated("include variables.conf;\n" + site, when),
        }
        return files | _snippets(self.templates, values)

    def _gated(self, site: str, when: str) -> str:
        """Comment out the TLS server if none of its pairs has a credential, else the lines of those without one."""
        server = parse(site).directives[-1]
        lines = [each for each in server.block or () if each.name in _PAIR]
        spans = zip(lines[::2], lines[1::2], self.pairs, strict=True)
        gone = [(first, last, pair.identity) for first, last, pair in spans if pair.identity in self.gate.pending]
        if len(gone) == len(self.pairs):
            gone = [(server, server, pair) for _, _, pair in gone]
        edits = [CommentOut(first.start, last.end, self.gate.pending[pair]) for first, last, pair in gone]
        return render(site, edits, when).text


def packaged_config(settings: Settings, facts: Facts, templates: Mapping[str, str]) -> UserConfig:
    """The packaged configuration, with the paths that the user's would have.

    The snippets are beside it: the user's own configuration may include them as well.
    """
    values = _values(settings, facts, templates, live=True, generation=0, user=Surroundings())
    files = {"mime.types": templates["mime.types"], **_snippets(templates, values)}
    root = str(settings.nginx_conf)
    texts = {root: fill(templates["nginx.conf"], values)}
    texts |= {folder(root) + path: text for path, text in files.items()}
    return user_config(root, texts, {path: [path] for path in texts}, packaged=True)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill ``@{name}``. A line that holds only a placeholder takes its indentation to every line of the value."""
    lines = []
    for line in template.splitlines():
        alone = re.fullmatch(r"(\s*)@\{([a-z0-9_]+)\}", line)
        if alone:
            lines += [f"{alone[1]}{part}" if part else "" for part in values[alone[2]].splitlines()]
        else:
            lines.append(_Template(line).substitute(values))
    return "\n".join(lines) + "\n"


def _snippets(templates: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {path: fill(text, values) for path, text in templates.items() if path.startswith("snippets/")}


def http_additions(settings: Settings, facts: Facts, user: Surroundings) -> str:
    """The text for the end of the user's ``http`` block: settings that it lacks, and certfront's servers.

    NGINX's temporary files are kept apart from the run folder, where another file system is writable.
    """
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    wanted = {f"{kind}_temp_path": f'"{facts.temporary(settings.run_dir)}/{kind}"' for kind in kinds}
    wanted["server_names_hash_bucket_size"] = "512"
    if facts.nginx_version >= KEEPALIVE_MIN_TIMEOUT:
        wanted["keepalive_min_timeout"] = "5s"
    if settings.log_format == "json" and user.http and _DEFAULT_LOG in facts.outputs:
        wanted["access_log"] = f"{_DEFAULT_LOG} {JSON_FORMAT}"
    lines = [f"    {name} {value};\n" for name, value in wanted.items() if name not in user.http]
    return "".join([*lines, "    include status.conf;\n    include site.conf;\n"])


def main_additions(settings: Settings, facts: Facts, user: Surroundings) -> str:
    """The text for the end of the user's root file: certfront's process settings, and those that it lacks.

    With them a reload inherits unchanged certificates instead of loading them, old workers finish their requests
    without piling up, and the reason for a refused reload is in a log that the agent reads.
    """
    wanted = {"worker_shutdown_timeout": "10m", "error_log": "stderr warn"}
    wanted |= {"user": facts.user} if facts.user else {}
    wanted |= {"ssl_object_cache_inheritable": "on"} if facts.nginx_version >= OBJECT_CACHE else {}
    lines = ["# Added by certfront.", "daemon off;", f'pid "{settings.run_dir}/nginx.pid";']
    lines += [f"{name} {value};" for name, value in wanted.items() if name not in user.main]
    lines += [f'error_log "{settings.run_dir}/{REFUSALS}" emerg;']
    return "\n".join([*lines, *([] if "events" in user.main else ["events { }"])]) + "\n"


def _servers_before(settings: Settings, user: Surroundings) -> tuple[str, ...]:
    """The built-in servers besides the TLS one; none for a user's configuration without a site name."""
    if settings.server_names:
        return ("site-http", "site-unknown")
    return () if settings.http_port in user.ports else ("site-http",)


def _pair_lines(pairs: tuple[PairFiles, ...]) -> str:
    lines = [
        f'{name} "{file}";'
        for pair in pairs
        for name, file in zip(_PAIR, (pair.chain_file, pair.key_file), strict=True)
    ]
    passwords = dict.fromkeys(pair.password_file for pair in pairs if pair.password_file)
    return "\n".join([*lines, *(f'ssl_password_file "{path}";' for path in passwords)])


def _values(
    settings: Settings, facts: Facts, templates: Mapping[str, str], *, live: bool, generation: int, user: Surroundings
) -> dict[str, str]:
    """Words, and parts of files: these are templates in which nothing but words is filled in."""
    words = {
        **_main_values(settings, facts, generation),
        **_listen_values(settings, facts, user),
        **_target("upstream", settings.upstream, facts),
        **_target("certmgr", settings.acme_challenge_target, facts),
        **not_inherited(user.http),
        "pending_page": _quoted(templates["pages/pending.html"]),
    }
    challenges = settings.acme_challenge != "off" and settings.acme_challenge_target
    used = {
        "log_format": f"log-{settings.log_format}",
        "acme_challenge": f"challenge-{settings.acme_challenge}" if challenges else "",
        "http3": "site-http3" if _http3(settings, facts) else "",
        "site_body": _body(settings),
        "http_body": _http_body(settings, user, live=live),
    }
    return {**words, **{name: _part(templates, template, words) for name, template in used.items()}}


def _part(templates: Mapping[str, str], name: str, words: Mapping[str, str]) -> str:
    return fill(templates[f"templates/{name}.conf"], words) if name else ""


def _body(settings: Settings) -> str:
    return "site-proxy" if settings.upstream else "site-static"


def _http_body(settings: Settings, user: Surroundings, *, live: bool) -> str:
    if live:
        return "site-redirect"
    serves = settings.before_tls == "serve" or not (settings.server_names or user.ports)  # the base image's job
    return _body(settings) if serves else "site-pending"


def _quoted(page: str) -> str:
    """A page as one NGINX string, so that workers need no access to a file."""
    flat = " ".join(page.split())
    return "'" + flat.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _main_values(settings: Settings, facts: Facts, generation: int) -> dict[str, str]:
    nameservers = " ".join(f"[{name}]" if ":" in name else name for name in facts.nameservers)
    ipv6 = "" if facts.ipv6 else " ipv6=off"
    return {
        "generation": str(generation),
        "run_dir": str(settings.run_dir),
        "own_socket": _own_socket(str(settings.run_dir)),
        "error_level": "info" if settings.log_level == "debug" else "warn",
        "access_log": "/dev/stdout certfront" if facts.access_log else "off",
        "resolver": f"resolver {nameservers} valid=10s{ipv6};\nresolver_timeout 5s;" if nameservers else "",
        "https_port": str(settings.https_port),
        "https_public_port": str(settings.https_public_port),
        "https_colon_port": "" if settings.https_public_port == HTTPS else f":{settings.https_public_port}",
        "site_name": settings.site_name or "_",
        "acme_target": settings.acme_challenge_target,
        "hsts": settings.hsts or HSTS,
        "site_hsts": "include snippets/hsts.conf;" if settings.hsts else "",
        "curves": ":".join(_CURVES if facts.openssl >= HYBRID_GROUP else _CURVES[1:]),
        "nofile": f"worker_rlimit_nofile {min(facts.nofile or NOFILE, NOFILE)};",
        "html_root": HTML_ROOT,
    }


def _own_socket(run_dir: str) -> str:
    """The path of the socket in the run folder, NGINX's working folder; its name alone for a long path."""
    path = f"{run_dir}/{NGINX_SOCKET}"
    return path if len(path.encode(errors="surrogateescape")) <= _SOCKET_ADDRESS else NGINX_SOCKET


def _listen_values(settings: Settings, facts: Facts, user: Surroundings) -> dict[str, str]:
    directive = facts.nginx_version >= HTTP2_DIRECTIVE
    tls, port = "ssl" if directive else "ssl http2", settings.https_port
    status = settings.status_port

    def first(port: int) -> str:
        return "" if port in user.taken else " default_server"

    return {
        "http2": "http2 on;" if directive else "",
        "http_listen": _listen(settings.http_port, first(settings.http_port), facts),
        "status_listen": ""
        if status in user.foreign
        else _listen(status, first(status), facts, settings.status_address),
        "https_listen": _listen(port, f" {tls}", facts),
        "unknown_listen": _listen(port, f" {tls}{first(port)}", facts),
        "quic_listen": _listen(port, " quic", facts) if _http3(settings, facts) else "",
        "quic_unknown_listen": _listen(port, _quic(port, user), facts) if _http3(settings, facts) else "",
    }


def _http3(settings: Settings, facts: Facts) -> bool:
    return settings.http3 and facts.http3


def _quic(port: int, user: Surroundings) -> str:
    """The parameters that one server may set for a QUIC socket, for a server that always runs.

    With ``reuseport`` every worker has a socket of its own, and the kernel sends all packets of a client to the same
    one.
    """
    once = [word for word in ("reuseport", "default_server") if (port, word) not in user.quic]
    return " ".join([" quic", *once])


def _listen(port: int, options: str, facts: Facts, only: str = "") -> str:
    """The ``listen`` lines for one address ``only``, or for all addresses."""
    addresses = [str(port)] + ([f"[::]:{port}"] if facts.ipv6 else [])
    if only:
        addresses = [f"[{only}]:{port}" if ":" in only else f"{only}:{port}"]
    return "\n".join(f"listen {address}{options};" for address in addresses)


def _target(name: str, text: str, facts: Facts) -> dict[str, str]:
    """The parts of a URL to proxy to.

    NGINX's resolver asks name servers only, so addresses in the hosts file are filled in here; then TLS needs the name
    separately.
    """
    url = urlsplit(text)
    host = url.hostname or ""
    address = facts.hosts.get(host)
    authority = url.netloc
    if address:
        authority = (f"[{address}]" if ":" in address else address) + (f":{url.port}" if url.port else "")
    return {
        f"{name}_scheme": url.scheme,
        f"{name}_netloc": url.netloc,
        f"{name}_authority": authority,
        f"{name}_ssl_name": f"proxy_ssl_name {host};" if address else "",
        f"{name}_path": url.path,
        # Without a path NGINX passes the request's URI as it came; with one, it is put in front.
        f"{name}_uri": f"{url.path}$request_uri" if url.path else "",
    }
