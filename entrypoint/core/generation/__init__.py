"""The content of a generation: from settings, configuration and credentials to every file."""
