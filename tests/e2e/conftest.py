"""Networks and daemons for the tests on real sockets."""

import pytest

from tests.conftest import require, unavailable
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
