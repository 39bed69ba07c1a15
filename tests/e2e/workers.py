"""A daemon of several workers, and mail that goes to the queues of all of them."""

import contextlib
from typing import Final

from mta.admin.client import is_answered
from mta.admin.socket_path import NAME
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter

WORKERS: Final = 3
DOMAINS: Final = [f"d{number}.example" for number in range(12)]
DELIVERED_S: Final = 30


class Place(Loopback):
    """A daemon of several workers, once all of it answers."""

    def workers(self, count: int, *more: str) -> None:
        self.configure(top="\n".join([f"workers {count}", *more]))

    @contextlib.asynccontextmanager
    async def running(self, **environment):
        async with super().running(**environment) as daemon:
            await until(lambda: is_answered(self.spool / NAME), 30, self.told)
            yield daemon

    async def submit_all(self, times: int = 1) -> None:
        await self.submit(*(Letter(f"a@{domain}") for domain in DOMAINS for _ in range(times)))

    async def delivered(self, count: int) -> None:
        await until(lambda: len(self.rows("d")) >= count, DELIVERED_S, self.told)
