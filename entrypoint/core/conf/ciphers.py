"""Cipher profiles that only Red Hat's OpenSSL knows, such as ``ssl_ciphers PROFILE=SYSTEM;``."""

from __future__ import annotations

import re

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.syntax import Directive

_REFUSED = re.compile(r'SSL_(?:CTX_set_cipher_list|CONF_cmd)\((?:"\w+", )?"(?P<value>[^"]*PROFILE=[^"]*)"\) failed')


def refused_profile(user: UserConfig, message: str) -> dict[Place, str]:
    """The directives with the cipher profile in NGINX's message, each with the reason; empty for other messages."""
    match = _REFUSED.search(message)
    if not match:
        return {}
    value = match["value"]
    reason = f"{value} is a cipher profile of Red Hat's OpenSSL, which this NGINX does not know: it goes by its default"
    return {(file, each.start): reason for file, each in user.directives() if _sets(each, value)}


def _sets(directive: Directive, value: str) -> bool:
    words = [word.value for word in directive.args]
    if directive.name.endswith("ssl_conf_command"):
        return [word.lower() for word in words[:1]] == ["cipherstring"] and words[1:] == [value]
    return directive.name.endswith("ssl_ciphers") and words == [value]
