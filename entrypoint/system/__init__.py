"""System calls and kernel files that all parts of certfront use: files, memory, signals, sockets."""
