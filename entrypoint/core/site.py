"""The built-in site: settings to NGINX configuration, written as if every certificate existed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from urllib.parse import urlsplit

from entrypoint.core.configuration import Configuration
from entrypoint.core.copy import Pair
from entrypoint.core.gate import Line, gate
from entrypoint.core.options import Settings

HTTP2_DIRECTIVE = (1, 25, 1)
KEEPALIVE_MIN_TIMEOUT = OBJECT_CACHE = (1, 27, 4)
HTML_ROOT = "/usr/share/nginx/html"


@dataclass(frozen=True)
class Facts:
    """What the machine and its NGINX can do. ``user`` is a ``user`` directive's argument, or empty."""

    nginx_version: tuple[int, int, int]
    ipv6: bool
    user: str
    access_log: bool
    nameservers: tuple[str, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Around:
    """The user's configuration, where the built-in servers are put into one; ``live``: a TLS server of it runs.

    Directives are those that it sets itself, ports those of its HTTP servers, and ``taken`` the ones among them that
    have a ``default_server``.
    """

    main: frozenset[str] = frozenset()
    http: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    taken: frozenset[int] = frozenset()
    live: bool = False


def around(configuration: Configuration, *, live: bool) -> Around:
    """What the built-in servers have to know of a configuration."""
    servers = [server for server in configuration.servers if server.context == "http"]
    listeners = [listener for server in servers for listener in server.listeners if not listener.udp]
    return Around(
        main=frozenset(configuration.levels["main"]),
        http=frozenset(configuration.levels["http"]),
        ports=frozenset(listener.port for listener in listeners),
        taken=frozenset(listener.port for listener in listeners if listener.default_server),
        live=live,
    )


class _Template(Template):
    delimiter = "@"
    pattern = r"@(?:(?P<escaped>@)|(?P<named>\b\B)|\{(?P<braced>[a-z0-9_]+)\}|(?P<invalid>\b\B))"  # type: ignore[assignment]


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


def render(  # noqa: PLR0913 - all of it decides
    settings: Settings,
    facts: Facts,
    templates: Mapping[str, str],
    pairs: tuple[Pair, ...],
    blocked: Mapping[str, str],
    generation: int,
    *,
    user: Around | None = None,
) -> dict[str, str]:
    """Every file of the configuration by its path in the generation; with ``user``, all but the root file.

    ``templates`` are the packaged files by path. A pair in ``blocked`` is commented out with the reason given there.
    """
    live = any(pair.identity not in blocked for pair in pairs) or (user is not None and user.live)
    values = _values(settings, facts, templates, live=live, generation=generation, user=user or Around())
    tls = _tls_server(templates["templates/site-tls.conf"], values, pairs) if pairs else []
    head = _site_head(templates, values, _servers_before(settings, user))
    lines = [Line(text) for text in head.splitlines()] + tls
    files = {
        "nginx.conf": fill(templates["nginx.conf"], values),
        "mime.types": templates["mime.types"],
        "status.conf": fill(templates["templates/status.conf"], values),
        "site.conf": gate(lines, blocked),
    }
    for path, text in templates.items():
        if path.startswith("snippets/"):
            files[path] = fill(text, values)
    if user:
        del files["nginx.conf"]
    return files


def snippets(settings: Settings, facts: Facts, templates: Mapping[str, str]) -> dict[str, str]:
    """The packaged snippets by path, filled: the user's own configuration may include them as well."""
    values = _values(settings, facts, templates, live=True, generation=0, user=Around())
    return {path: fill(text, values) for path, text in templates.items() if path.startswith("snippets/")}


def http_additions(settings: Settings, facts: Facts, user: Around) -> str:
    """What goes to the end of the user's ``http`` block: what it does not set itself, and our servers."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    wanted = {f"{kind}_temp_path": f'"{settings.run_dir}/nginx/{kind}"' for kind in kinds}
    wanted["server_names_hash_bucket_size"] = "512"
    if facts.nginx_version >= KEEPALIVE_MIN_TIMEOUT:
        wanted["keepalive_min_timeout"] = "5s"
    lines = [f"    {name} {value};\n" for name, value in wanted.items() if name not in user.http]
    return "".join([*lines, "    include status.conf;\n    include site.conf;\n"])


def main_additions(settings: Settings, facts: Facts, user: Around) -> str:
    """What goes to the end of the user's root file: our process's own, and what is not set there."""
    wanted = {"worker_shutdown_timeout": "10m", "error_log": "stderr warn"}
    wanted |= {"user": facts.user} if facts.user else {}
    wanted |= {"ssl_object_cache_inheritable": "on"} if facts.nginx_version >= OBJECT_CACHE else {}
    lines = ["# Added by certfront.", "daemon off;", f'pid "{settings.run_dir}/nginx.pid";']
    lines += [f"{name} {value};" for name, value in wanted.items() if name not in user.main]
    return "\n".join([*lines, *([] if "events" in user.main else ["events { }"])]) + "\n"


def _servers_before(settings: Settings, user: Around | None) -> tuple[str, ...]:
    """The built-in servers besides the TLS one. Whoever brings servers of their own and names no site has no other."""
    if settings.server_names:
        return ("site-http", "site-unknown")
    return () if user and settings.http_port in user.ports else ("site-http",)


def _site_head(templates: Mapping[str, str], values: Mapping[str, str], names: tuple[str, ...]) -> str:
    head = "map $http_upgrade $certfront_connection {\n    default upgrade;\n    '' '';\n}\n\n"
    return head + "".join(fill(templates[f"templates/{name}.conf"], values) for name in names) + "\n"


def _tls_server(template: str, values: Mapping[str, str], pairs: tuple[Pair, ...]) -> list[Line]:
    before, after = (fill(part, values) for part in template.split("    @{pairs}\n"))
    lines = [Line(text, server="built-in") for text in before.splitlines()]
    lines += [Line(f"    {text}", "built-in", pair.identity) for pair in pairs for text in _pair_lines(pair)]
    passwords = dict.fromkeys(pair.password_file for pair in pairs if pair.password_file)
    lines += [Line(f'    ssl_password_file "{path}";', server="built-in") for path in passwords]
    return lines + [Line(text, server="built-in") for text in after.splitlines()]


def _pair_lines(pair: Pair) -> tuple[str, str]:
    return f'ssl_certificate "{pair.chain_file}";', f'ssl_certificate_key "{pair.key_file}";'


def _values(
    settings: Settings, facts: Facts, templates: Mapping[str, str], *, live: bool, generation: int, user: Around
) -> dict[str, str]:
    values = _main_values(settings, facts, generation) | _listen_values(settings, facts, user)
    values |= _upstream_values(settings, facts)
    values["hsts"] = f'add_header Strict-Transport-Security "{settings.hsts}" always;' if settings.hsts else ""
    body = "site-proxy" if settings.upstream else "site-static"
    values["site_body"] = fill(templates[f"templates/{body}.conf"], values)
    challenge = _acme_challenge(settings)
    values["acme_challenge"] = fill(challenge, values) if challenge else ""
    if live:
        values["http_body"] = _redirect(settings)
    elif settings.before_tls == "serve" or not (settings.server_names or user.ports):  # the base image's job
        values["http_body"] = values["site_body"]
    else:
        page = _quoted(templates["pages/pending.html"])
        values["http_body"] = fill(templates["templates/site-pending.conf"], values | {"pending_page": page})
    return values


def _quoted(page: str) -> str:
    """A page as one NGINX string, so that serving it needs no file that the workers would have to reach."""
    flat = " ".join(page.split())
    return "'" + flat.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _main_values(settings: Settings, facts: Facts, generation: int) -> dict[str, str]:
    nameservers = " ".join(f"[{name}]" if ":" in name else name for name in facts.nameservers)
    ipv6 = "" if facts.ipv6 else " ipv6=off"
    new = facts.nginx_version
    return {
        "generation": str(generation),
        "run_dir": str(settings.run_dir),
        "user": f"user {facts.user};" if facts.user else "",
        "error_level": "info" if settings.log_level == "debug" else "warn",
        "log_format": _LOG_FORMATS[settings.log_format],
        "access_log": "/dev/stdout certfront" if facts.access_log else "off",
        "resolver": f"resolver {nameservers} valid=10s{ipv6};\nresolver_timeout 5s;" if nameservers else "",
        "keepalive_min_timeout": "keepalive_min_timeout 5s;" if new >= KEEPALIVE_MIN_TIMEOUT else "",
        "ssl_object_cache": "ssl_object_cache_inheritable on;" if new >= OBJECT_CACHE else "",
        "server_names": " ".join(settings.server_names) or "_",
        "https_public_port": str(settings.https_public_port),
        "html_root": HTML_ROOT,
    }


_LOG_FORMATS = {
    "text": (
        "log_format certfront '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent '\n"
        '    \'"$http_referer" "$http_user_agent" "$http_x_forwarded_for" $host $request_time\';'
    ),
    "json": (
        'log_format certfront escape=json \'{"time":"$time_iso8601","logger":"access",\'\n'
        '    \'"remote_addr":"$remote_addr","host":"$host","request":"$request","status":$status,\'\n'
        '    \'"bytes":$body_bytes_sent,"seconds":$request_time,"user_agent":"$http_user_agent",\'\n'
        '    \'"forwarded_for":"$http_x_forwarded_for"}\';'
    ),
}


def _listen_values(settings: Settings, facts: Facts, user: Around) -> dict[str, str]:
    directive = facts.nginx_version >= HTTP2_DIRECTIVE
    tls = "ssl" if directive else "ssl http2"

    def first(port: int) -> str:
        return "" if port in user.taken else " default_server"

    return {
        "http2": "http2 on;" if directive else "",
        "http_listen": _listen(settings.http_port, first(settings.http_port), facts),
        "status_listen": _listen(settings.status_port, first(settings.status_port), facts),
        "https_listen": _listen(settings.https_port, f" {tls}", facts),
        "unknown_listen": _listen(settings.https_port, f" {tls}{first(settings.https_port)}", facts),
    }


def _listen(port: int, options: str, facts: Facts) -> str:
    addresses = [str(port)] + ([f"[::]:{port}"] if facts.ipv6 else [])
    return "\n".join(f"listen {address}{options};" for address in addresses)


def _upstream_values(settings: Settings, facts: Facts) -> dict[str, str]:
    """NGINX's resolver asks name servers only, so what the hosts file says is filled in here."""
    url = urlsplit(settings.upstream)
    host = url.hostname or ""
    address = facts.hosts.get(host)
    authority = url.netloc
    if address:
        authority = (f"[{address}]" if ":" in address else address) + (f":{url.port}" if url.port else "")
    return {
        "upstream_scheme": url.scheme,
        "upstream_authority": authority,
        "upstream_path": url.path,
        # Without a path NGINX passes the request's URI as it came; with one, it is put in front.
        "upstream_uri": f"{url.path}$request_uri" if url.path else "",
    }


def _acme_challenge(settings: Settings) -> str:
    """RFC 8555, section 8.3: the challenge's path. CertMgr holds the answer."""
    target = settings.acme_challenge_target
    if settings.acme_challenge == "off" or not target:
        return ""
    if settings.acme_challenge == "redirect":
        action = f"return 301 {target}$request_uri;"
    else:
        action = (
            f'@{{resolver}}\n    set $certfront_certmgr "{target}";\n    proxy_pass $certfront_certmgr;\n'
            "    proxy_set_header Host $host;\n    proxy_ssl_server_name on;\n    proxy_connect_timeout 5s;"
        )
    return f"location /.well-known/acme-challenge/ {{\n    {action}\n}}"


def _redirect(settings: Settings) -> str:
    port = "" if settings.https_public_port == 443 else f":{settings.https_public_port}"
    return f"location / {{\n    return 301 https://$host{port}$request_uri;\n}}"
