"""What every test may rely on: event loops, and tools that are there or said to be missing."""

import asyncio
import functools
import inspect
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import hypothesis
import pytest
import uvloop

from mta.sim.loop import VirtualLoop

ROOT = Path(__file__).parent.parent
TEST_S_MAX = {"e2e": 120.0, "crash": 600.0}
"""What one test may take, by directory."""

# The modules beside the tests in e2e/ and crash/ are imported as `tests.e2e.daemon` and so on.
sys.path.insert(0, str(ROOT))

# 3.11 makes a loop for whoever asks first, and nobody closes it.
asyncio.set_event_loop(None)

# A busy machine is no reason to fail; how to repeat a failure is printed.
hypothesis.settings.register_profile("petrel", deadline=None, print_blob=True)
hypothesis.settings.load_profile("petrel")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Real sockets run under both loops; a slow test picks one with `mark.asyncio`."""
    if {"e2e", "crash"} & set(item.path.parts):
        return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
    if "scenario" in item.path.parts:
        return {"virtual": VirtualLoop}
    return {"asyncio": asyncio.SelectorEventLoop}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what another number of workers is for, and bound what is on real sockets.

    There a test that hangs fails; nothing else bounds a wait for another process.
    """
    if int(os.environ.get("PETREL_TEST_WORKERS", "1")) > 1:
        items[:] = [item for item in items if _is_for_any_workers(item)]
    for item in items:
        limit = next((s for part, s in TEST_S_MAX.items() if part in item.path.parts), None)
        if limit and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.obj = _bounded(item.obj, limit)


def _is_for_any_workers(item: pytest.Item) -> bool:
    """Whether a test starts a daemon, and does not say itself how many workers it has."""
    starts = hasattr(getattr(item, "module", None), "Loopback")
    starts |= "site" in getattr(item, "fixturenames", ())
    return starts and not item.get_closest_marker("own_workers")


def _bounded(test: Callable[..., Awaitable[None]], limit: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(*args: object, **named: object) -> None:
        async with asyncio.timeout(limit):
            await test(*args, **named)

    return bounded


def require(*tools: str) -> None:
    """Skip unless every tool is there; in CI, fail instead: there nothing may be missing.

    A tool is a program on the path, `root` for being the superuser, or a path that exists.
    """
    missing = [tool for tool in tools if not _is_there(tool)]
    if missing:
        unavailable(f"needs {', '.join(missing)}")


def unavailable(reason: str) -> None:
    """Skip with a reason; where the environment variable CI is set, fail with it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI must have it", pytrace=False)
    pytest.skip(reason)


def _is_there(tool: str) -> bool:
    if tool == "root":
        return os.geteuid() == 0
    if "/" in tool:
        return Path(tool).exists()
    return bool(shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin"))


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """`needs("swaks", "root")` at the head of a test; see `require`."""
    return require


@pytest.fixture(scope="session")
def root() -> Path:
    """The directory of the project."""
    return ROOT
