"""Each benchmark runs, at a size that says nothing, and finds rows for its table."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.machine import ROOT, allow_many_files
from benchmarks.measure import measure, sample
from benchmarks.page import ORDER, pages, read
from benchmarks.peers import PEERS, exim, opensmtpd
from benchmarks.peers.view import CACHE
from benchmarks.scenario import Provider, Scenario
from tests.conftest import require

SMALL = {
    "throughput": "--quick --messages 80 --sizes 5 --only petrel,postfix",
    "matrix": "--messages 40 --rows tls --only petrel",
    "dkim": "--quick --messages 80 --sizes 5 --only petrel",
    "workers": "--quick --messages 160 --domains 2",
    "latency": "--quick --probes 50 --only petrel",
    "connections": "--idle 20 --busy 10 --probes 20",
    "scale": "--recipients 500 --queues 100 --millions 0.001 --live 60",
    "soak": "--minutes 0.1",
    "config_scale": "--quick",
    "scheduler": "--quick --decisions 500",
}
UNPACKED = {
    "haraka": CACHE / "node_modules" / "Haraka",
    "exim": CACHE / "debian" / "+".join(exim.PACKAGES) / ".complete",
    "opensmtpd": CACHE / "debian" / "+".join(opensmtpd.PACKAGES) / ".complete",
}
"""Servers that are downloaded once; a test does not download them."""
READY = ["petrel", "postfix", *(name for name, there in UNPACKED.items() if there.exists())]
HARD = Scenario(
    size_kb=1,
    connections=2,
    keeps_open=False,
    domains=3,
    provider=Provider(delay_ms=1, defers=0.2, refuses=0.1),
    tls=True,
    dkim=True,
    durable=False,
)


@pytest.fixture(scope="module", autouse=True)
def tools():
    require("root", "postfix")
    allow_many_files()


@pytest.mark.parametrize("name", ORDER)
def test_a_benchmark_finds_rows(name, tmp_path):
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name].split()]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = report.load(tmp_path / f"{name}.json")
    assert found.tables
    assert all(table.rows for table in found.tables)
    assert "left out" not in done.stdout
    page = pages(read(tmp_path), "page.md")
    assert found.tables[0].title.replace("|", "") in page.pop("page.md")
    assert all(ET.fromstring(picture) is not None for picture in page.values())


@pytest.mark.parametrize("name", [name for name in READY if name != "opensmtpd"])
def test_a_server_can_do_all_that_a_scenario_asks_for(name):
    """The provider takes nothing in clear, and ends when each recipient has had an answer."""
    result = measure(PEERS[name], HARD, 6)
    assert result.rate > 0
    assert result.cpu_us > 0


@pytest.mark.parametrize("name", READY)
def test_a_server_delivers_what_was_submitted(name):
    plain = Scenario(size_kb=1, connections=1, dkim=name != "opensmtpd")
    message = sample(PEERS[name], plain)
    assert message.count(b"X" * 60) >= 10
    assert (b"DKIM-Signature:" in message) == plain.dkim


def test_the_committed_page_is_that_of_the_committed_results():
    docs = ROOT / "docs"
    for name, text in pages(read(report.RESULTS), "benchmarks.md").items():
        assert Path(docs / name).read_text() == text, "run: make docs"
