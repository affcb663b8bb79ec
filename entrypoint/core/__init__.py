"""What certfront decides: plain values in, plain values out, no I/O."""
