"""What every process of the daemon does the same way: the log, and how a start fails."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta.daemon.log import Log

if TYPE_CHECKING:
    from mta.config.configuration import Configuration

EXIT_START: Final = 1
"""A listener, the spool or the log could not be opened."""
EXIT_CONFIG: Final = 2
"""The configuration has errors; nothing was started."""
SWITCH_INTERVAL_S: Final = 0.0005
"""How long the spool's thread may keep the event loop waiting for the interpreter."""


def open_log(configuration: "Configuration") -> Log:
    """The log of a configuration."""
    root = configuration.root
    return Log(
        Path(root.log_file),
        root.log_rotate,
        is_world_readable=root.log_file_world_readable,
        rotates_daily=root.log_auto_rotation,
    )


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in a group that are not groups themselves."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
