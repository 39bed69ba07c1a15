"""Petrel: a mail transfer agent that runs PowerMTA configuration files."""

__version__ = "0.1.0"
