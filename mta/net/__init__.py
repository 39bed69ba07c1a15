"""Sockets: listening, connecting, resolving."""
