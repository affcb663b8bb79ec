"""The words that NGINX resolves against the folder of its configuration file, and the rules for it.

From the callers of ngx_conf_full_name with ``conf_prefix`` in NGINX 1.31, their callers (ngx_ssl_*, complex values),
and the modules njs, Lua, auth-jwt, otel and acme. All other paths (``root``, ``error_log``, ``pid``, ``load_module``
...) are relative to NGINX's own prefix, wherever its configuration lies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from entrypoint.core.conf.syntax import Directive, Word

# What lies in their blocks is data: nothing in it is a directive but `include`.
DATA_BLOCKS = frozenset({"charset_map", "geo", "map", "split_clients", "types"})

_SIDES = ("", "proxy_", "grpc_", "uwsgi_", "lua_", "zone_sync_")
_SIDES_FILES = ("certificate", "certificate_key", "crl", "password_file", "trusted_certificate")
_OTHERS = (
    "account_key",
    "auth_basic_user_file",
    "auth_jwt_key_file",
    "auth_jwt_revocation_list_kid",
    "auth_jwt_revocation_list_sub",
    "include",
    "js_fetch_trusted_certificate",
    "js_path",
    "lua_ssl_key_log",
    "quic_host_key",
    "ssl_client_certificate",
    "ssl_dhparam",
    "ssl_ech_file",
    "ssl_session_ticket_key",
    "ssl_stapling_file",
    "trusted_certificate",
)
_POSITIONS = dict.fromkeys([*(f"{side}ssl_{file}" for side in _SIDES for file in _SIDES_FILES), *_OTHERS], 0)
_POSITIONS |= dict.fromkeys((f"{side}ssl_conf_command" for side in _SIDES), 1)
_POSITIONS |= {"external_account_key": 1, "js_import": -1}

# SSL_CONF_cmd(3): the commands that take a file or a folder, spelt as one likes.
_CONF_PATHS = re.compile(
    r"Certificate|PrivateKey|ServerInfoFile|DHParameters|(?:Chain|Verify|Client|Request)CA(?:File|Path)", re.IGNORECASE
)
_NO_PATH = re.compile(
    r"(?:data|engine|store):"  # the thing itself, or its name in a library
    r"|(?:rsa|ecdsa)(?::|\Z)"  # the kind of account_key that is to be made
    r"|\$(?!ssl_server_name\b|\{ssl_server_name\})"  # may hold anything, while a host name holds no slash
)


@dataclass(frozen=True, slots=True)
class PathWord:
    """A word that NGINX uses as a path, and its directive."""

    directive: Directive
    word: Word


def folder(file: str) -> str:
    """The folder of a file, with a trailing slash: NGINX's ``conf_prefix`` if it is the root file."""
    return file[: file.rfind("/") + 1]


def full_name(path: str, prefix: str) -> str:
    """The absolute path as NGINX makes it: a concatenation, without resolving or shortening anything."""
    return path if path.startswith("/") else prefix + path


def path_word(directive: Directive, *, data: bool = False) -> Word | None:
    """The argument of a directive that NGINX uses as a path, absolute or relative; None where there is none.

    ``data`` says that the directive lies in one of the `DATA_BLOCKS`. None too for a path that only NGINX can resolve:
    a variable, or a key in an engine. A file of ``js_import`` may also lie in a ``js_path``: NGINX searches there for
    files that the configuration's folder does not have.
    """
    position = None if data and directive.name != "include" else _POSITIONS.get(directive.name)
    if position is None or len(directive.args) <= max(position, 0):
        return None
    if directive.name.endswith("ssl_conf_command") and not _CONF_PATHS.fullmatch(directive.args[0].value):
        return None
    word = directive.args[position]
    literal = directive.name == "include"  # NGINX knows no variables there
    return word if word.value and (literal or not _NO_PATH.match(word.value)) else None
