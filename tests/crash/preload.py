"""Libraries that stand before the C library of a daemon, built for a test."""

import subprocess
from pathlib import Path

from tests.conftest import require


def built(name: str, directory: Path) -> Path:
    """The library of a C file that stands beside this one."""
    require("cc")
    library = directory / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library
