"""The servers that are measured, by name; each runs privately, on loopback, in a directory."""

from benchmarks.peers.exim import Exim
from benchmarks.peers.haraka import Haraka
from benchmarks.peers.opensmtpd import OpenSmtpd
from benchmarks.peers.petrel import Petrel
from benchmarks.peers.petrel_full import PETREL_FULL
from benchmarks.peers.place import MissingError, Peer, Place
from benchmarks.peers.postfix import Postfix

PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (Petrel(), Postfix(), Haraka(), Exim(), OpenSmtpd(), PETREL_FULL)
}
SERVERS = [name for name in PEERS if name != PETREL_FULL.name]
"""Those that are compared if nothing else is said."""
BASE = "postfix"
"""The one that ratios are to if nothing else is said."""

__all__ = ["BASE", "PEERS", "SERVERS", "MissingError", "Peer", "Place"]
