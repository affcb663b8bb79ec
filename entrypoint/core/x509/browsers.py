"""What browsers refuse in a chain whose links hold: one sentence for each thing, and for the certificate that has it.

After Chromium (BoringSSL's pki/verify_certificate_chain.cc and ssl/ssl_cert.cc) and Firefox (mozilla::pkix:
pkixcert.cpp, pkixcheck.cpp, pkixnames.cpp). What one of the two takes passes: small private CAs have no key
identifiers, no key usage, and names with underscores. What a root says of itself is left to whoever trusts it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from entrypoint.core.shown import shown
from entrypoint.core.x509.certificate import ODD, extension, extensions_of, signature_fault
from entrypoint.core.x509.chain import is_root

Fault = tuple[x509.Certificate, str]

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_JUDGED = (x509.DNSName, x509.IPAddress)
_SERVER = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
# Critical ones that Chromium (IsHandledCriticalExtension) or Firefox (BackCert::RememberExtension) understands.
_UNDERSTOOD = {
    *(ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE),
    *(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES),
    *(ExtensionOID.POLICY_MAPPINGS, ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY),
    *(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.TLS_FEATURE, ExtensionOID.OCSP_NO_CHECK),
    *(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, x509.ObjectIdentifier("2.16.840.1.113730.1.1")),
}


def faults(path: Sequence[x509.Certificate]) -> Iterator[Fault]:
    """The faults in a path, leaf first, for which browsers refuse it; extensions must parse."""
    leaf = path[0]
    for cert in path:
        yield from ((cert, fault) for fault in (*_form(cert), *(_of_leaf(leaf) if cert is leaf else _of_issuer(cert))))
    for place, issuer in enumerate(path[1:], 1):
        yield from ((issuer, fault) for fault in _path_length(issuer, path[1:place]))
        yield from ((leaf, fault) for fault in _constrained(leaf, issuer))


def _form(cert: x509.Certificate) -> Iterator[str]:
    """The faults of a certificate by itself: version, key, signature, critical extensions (RFC 5280, section 4.2)."""
    if cert.version is not x509.Version.v3:
        yield "it is of X.509 version 1, version 3 expected"
    yield from _key(cert)
    if not is_root(cert) and (fault := signature_fault(cert)):
        yield fault
    for each in extensions_of(cert):
        if each.oid == ExtensionOID.PRECERT_POISON:
            yield "a precertificate (Certificate Transparency's poison extension), which is never meant to be served"
        elif each.critical and each.oid not in _UNDERSTOOD:
            yield f"a critical extension that browsers do not know, {each.oid.dotted_string}"


def _key(cert: x509.Certificate) -> Iterator[str]:
    try:
        key = cert.public_key()
    except ODD:
        yield "a public key of an unknown kind, RSA or ECDSA expected"
        return
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            yield f"RSA key of {key.key_size} bits, at least 2048 expected"
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        yield f"a public key of the kind {type(key).__name__.removesuffix('PublicKey')}, RSA or ECDSA expected"
    elif key.curve.name not in _CURVES:
        yield f"key on the curve {key.curve.name}, P-256, P-384 or P-521 expected"


def _of_leaf(leaf: x509.Certificate) -> Iterator[str]:
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca and not is_root(leaf):
        yield "a CA certificate, one for a server expected"
    if extension(leaf, x509.SubjectAlternativeName) is None:
        yield "it has no subject alternative name, and browsers do not take the common name for one"
    yield from _usage(leaf)
    yield from _not_for_servers(leaf, "not for TLS servers")


def _usage(leaf: x509.Certificate) -> Iterator[str]:
    """ECDSA signs in every handshake; RSA did not before TLS 1.3, where it deciphered (RFC 5246, section 7.4.2)."""
    usage = extension(leaf, x509.KeyUsage)
    if usage is None or usage.digital_signature:
        return
    is_rsa = leaf.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
    if not (is_rsa and usage.key_encipherment):
        yield f"its key usage lacks digitalSignature{' and keyEncipherment' if is_rsa else ''}: not for TLS servers"


def _of_issuer(cert: x509.Certificate) -> Iterator[str]:
    constraints, usage = extension(cert, x509.BasicConstraints), extension(cert, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        yield "it issued another one, but is no CA certificate"
    elif usage is not None and not usage.key_cert_sign:
        yield "it issued another one, but its key usage lacks keyCertSign"
    yield from _not_for_servers(cert, "its CA may not issue certificates for TLS servers")


def _not_for_servers(cert: x509.Certificate, meaning: str) -> Iterator[str]:
    usages = extension(cert, x509.ExtendedKeyUsage)
    if usages is not None and not _SERVER & set(usages):
        names = ", ".join(use._name if use._name != "Unknown OID" else use.dotted_string for use in usages)
        yield f"{meaning}: extended key usage is {names}"


def _path_length(issuer: x509.Certificate, below: Sequence[x509.Certificate]) -> Iterator[str]:
    """The limit on the number of CAs below a CA; self-issued ones do not count (RFC 5280, section 4.2.1.9)."""
    constraints = extension(issuer, x509.BasicConstraints)
    most = constraints.path_length if constraints else None
    found = sum(cert.subject != cert.issuer for cert in below)
    if most is not None and found > most:
        yield f"it allows {most} CAs below it (path length constraint), and there are {found}"


def _constrained(leaf: x509.Certificate, issuer: x509.Certificate) -> Iterator[str]:
    """The name constraints of the CAs above (RFC 5280, section 4.2.1.10), for DNS names and addresses."""
    limits, names = extension(issuer, x509.NameConstraints), extension(leaf, x509.SubjectAlternativeName)
    if limits is None or names is None:
        return
    for name in names:
        allowed = [tree for tree in limits.permitted_subtrees or () if isinstance(tree, type(name))]
        forbidden = [tree for tree in limits.excluded_subtrees or () if isinstance(tree, type(name))]
        outside = bool(allowed) and not any(_within(name, tree) for tree in allowed)
        if isinstance(name, _JUDGED) and (outside or any(_within(name, tree, some=True) for tree in forbidden)):
            yield f"the name constraints of a CA above it do not allow {shown(str(name.value), lines=False)}"


def _within(name: x509.GeneralName, tree: x509.GeneralName, *, some: bool = False) -> bool:
    """Whether a name lies in a subtree; ``some``: whether at least one name does that a wildcard stands for."""
    if isinstance(name, x509.IPAddress) and isinstance(tree, x509.IPAddress):
        address, network = name.value, tree.value
        return isinstance(network, IPv4Network | IPv6Network) and address in network
    host, limit = str(name.value).lower().rstrip("."), str(tree.value).lower().rstrip(".")
    if some and host.startswith("*.") and limit.lstrip(".").endswith(host[1:]):
        return True
    return not limit or host == limit or host.endswith(limit if limit.startswith(".") else f".{limit}")
