"""A network of one provider in virtual time, for tests that need no more."""

import asyncio
import random

from mta.sim.network import Network
from mta.sim.zone import Zone

IP = "198.51.100.1"


class Overheard:
    """What the daemon said to the provider."""

    def __init__(self):
        self.said = b""

    def dialled(self, link): ...

    def hung_up(self, link): ...

    def sent(self, link, octets):
        if link.server[0] == IP:
            self.said += octets

    def heard(self, link, octets): ...


def small_world(*domains, observer=None):
    """The network that the running loop is wired to, and the names: one host for all domains."""
    loop = asyncio.get_running_loop()
    dice = random.Random(1)
    network = loop.wiring = Network(loop, dice, *([observer] if observer is not None else []))
    zone = Zone(dice)
    zone.add("mx.example", "A", IP)
    for domain in domains:
        zone.add(domain, "MX", "10 mx.example.")
    return network, zone
