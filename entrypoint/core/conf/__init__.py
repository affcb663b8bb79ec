"""The meaning of NGINX's configuration language: the user's configuration, read as NGINX reads it."""
