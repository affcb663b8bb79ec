"""The neighbours of certfront: each module has one, and imports no other edge."""
