"""What exactly shall run? From what is usable to every file of a generation."""
