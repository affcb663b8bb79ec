"""May this chain be served? Certificates, chains and PEM, by RFC 5280, 6125 and 7468."""
