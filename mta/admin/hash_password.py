"""`mta hash-password`: what to write after `password` instead of the password itself."""

import getpass
import secrets
import sys

from mta.errors import PetrelError
from mta.model.secret import SALT_OCTETS, scram_of, scrypt_of


class NoPasswordError(PetrelError):
    """None was given, or not the same twice."""


def hash_password(*, scram: bool) -> str:
    """Ask for a password, or take the first line of the input, and hash it."""
    password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise NoPasswordError("no password was given; type it, or send it as one line of input")
    salt = secrets.token_bytes(SALT_OCTETS)
    return f"{scram_of(password, salt) if scram else scrypt_of(password, salt)}\n"


def _asked() -> str:
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise NoPasswordError("these were two passwords; begin again")
    return password
