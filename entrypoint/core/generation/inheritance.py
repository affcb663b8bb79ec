"""The directives of the user's ``http`` block that certfront's own servers must not inherit.

In NGINX every server inherits from ``http``. Each directive that the user sets, and so this NGINX knows, is set back to
its default in certfront's servers; directives that the user does not set are not written.
"""

from __future__ import annotations

from collections.abc import Mapping

_OFF = (
    # access
    *("auth_basic", "auth_digest", "auth_gss", "auth_jwt", "auth_ldap", "auth_oidc", "auth_pam", "auth_request"),
    "modsecurity",
    # which file is sent
    *("aio", "directio", "disable_symlinks", "open_file_cache"),
    # how it is sent
    *("brotli", "brotli_static", "expires", "gunzip", "gzip", "gzip_static", "pagespeed", "ssi", "userid"),
    *("zstd", "zstd_static"),
    # what else is done
    *("dav_methods", "mirror", "recursive_error_pages"),
)
_NOTHING = '"certfront: a text that no answer contains"'
_TAKEN_BACK = {
    **{name: f"{name} off;" for name in _OFF},
    "allow": "allow all;",
    "deny": "allow all;",
    "satisfy": "satisfy all;",
    # Neither has an `off`: a limit of our own, whose key is always empty, takes the place of the user's.
    "limit_conn": "limit_conn certfront_connections 1;",
    "limit_req": "limit_req zone=certfront_requests;",
    "limit_rate": "limit_rate 0;",
    # These are inherited by whoever has none.
    "error_page": "error_page 599 /;",
    "add_before_body": 'add_before_body "";',
    "add_after_body": 'add_after_body "";',
    "add_header_inherit": "add_header_inherit on;",
    "sub_filter": f'sub_filter {_NOTHING} "";',
    "sub_filter_types": "sub_filter_types text/x-certfront;",
    "subs_filter": f'subs_filter {_NOTHING} "";',
    "subs_filter_types": "subs_filter_types text/x-certfront;",
    "charset_types": "charset_types text/plain;",
    "source_charset": "source_charset utf-8;",
    "add_trailer": "chunked_transfer_encoding off;",  # without chunks there is no trailer (RFC 9112, section 7.1.2)
    "max_ranges": "max_ranges 100;",
    "etag": "etag on;",
    "if_modified_since": "if_modified_since exact;",
    "types": "types { }",
    **{
        f"{phase}_by_lua{suffix}": f"{phase}_by_lua_block {{ return }}"
        for phase in ("rewrite", "access", "header_filter", "body_filter")
        for suffix in ("", "_block", "_file")
    },
}
_OF_A_SERVER = {
    "client_header_buffer_size": "client_header_buffer_size 1k;",
    "client_header_timeout": "client_header_timeout 60s;",
    "large_client_header_buffers": "large_client_header_buffers 4 8k;",
    "max_headers": "max_headers 1000;",
}
_OF_A_PROXY = {
    "proxy_cache": "proxy_cache off;",
    "proxy_intercept_errors": "proxy_intercept_errors off;",
    "proxy_limit_rate": "proxy_limit_rate 0;",
    "proxy_store": "proxy_store off;",
}
_OF_THE_CHALLENGE = {"allow", "auth_basic", "deny"}  # its location has them already
_ZONES = {
    "limit_conn": "limit_conn_zone $certfront_nothing zone=certfront_connections:1m;",
    "limit_req": "limit_req_zone $certfront_nothing zone=certfront_requests:1m rate=1r/s;",
}


def not_inherited(http: frozenset[str]) -> dict[str, str]:
    """The directives that keep certfront's servers from inheriting those that the user's ``http`` block sets.

    They are for a server, for a location that proxies, and, for `_ZONES` that both refer to, for ``http`` itself.
    """
    off = "ssl_verify_client off;" if "ssl_verify_client" in http else ""
    trusts = not http.isdisjoint({"ssl_client_certificate", "ssl_trusted_certificate"})
    zones = _lines(http, _ZONES)
    return {
        "no_client_certificates": off,
        "site_client_certificates": "" if trusts else off,
        "deaf": _lines(http, {**_TAKEN_BACK, **_OF_A_SERVER}),
        "deaf_challenge": _lines(http - _OF_THE_CHALLENGE, {**_TAKEN_BACK, **_OF_A_PROXY}),
        "deaf_zones": f"map '' $certfront_nothing {{\n    default '';\n}}\n{zones}" if zones else "",
    }


def _lines(names: frozenset[str], table: Mapping[str, str]) -> str:
    return "\n".join(dict.fromkeys(table[name] for name in table if name in names))
