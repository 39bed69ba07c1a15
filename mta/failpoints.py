"""Named places where a test can stop the process dead.

`PETREL_FAILPOINT=name` kills the process with SIGKILL the first time it gets there;
`PETREL_FAILPOINT=name:n` the n-th time. Without the variable a call costs one
comparison.
"""

import os
import signal

_name, _, _nth = os.environ.get("PETREL_FAILPOINT", "").partition(":")
_remaining = [int(_nth or 1)]


def reach(name: str) -> None:
    """Die here if a test asked for it."""
    if name == _name:
        _remaining[0] -= 1
        if _remaining[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
