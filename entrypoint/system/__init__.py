"""What Linux is asked for by all parts alike: files, memory, signals."""
