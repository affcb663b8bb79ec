"""What certfront touches: each module has one neighbour and imports no other edge."""
