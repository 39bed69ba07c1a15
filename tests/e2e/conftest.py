"""Networks and daemons for the tests on real sockets."""

import pytest

from tests.conftest import ROOT, require, unavailable
from tests.e2e.netns import NamespaceError, Network


@pytest.fixture
def network(tmp_path):
    """A sending host and a provider in namespaces of their own."""
    require("root", "ip", "unshare", "nsenter", "setpriv")
    try:
        joined = Network(tmp_path)
    except NamespaceError as error:
        unavailable(f"cannot make network namespaces: {error}")
    yield joined
    joined.close()


@pytest.fixture
async def site(network):
    """The sending host of the example configurations, and a provider to send to."""
    from tests.e2e.site import Site

    async with Site.open(network) as opened:
        yield opened


@pytest.fixture
def seeds():
    """The three example configurations, verbatim."""
    return ROOT / "tests/data/config/seed"
