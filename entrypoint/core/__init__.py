"""The decisions of certfront: plain values in, plain values out, no I/O."""
