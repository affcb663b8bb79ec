"""What does this NGINX text mean? The user's configuration, read as NGINX reads it."""
