"""Where each shard's spool is: the first in the spool directory itself, others below it.

So the spool of a daemon with one worker is the spool of the first of several.
"""

import re
from pathlib import Path

from mta import ids

_NAME = re.compile(r"shard-(\d+)")


def shard_directory(root: Path, shard: int) -> Path:
    """The spool of one shard, made or not."""
    return root / f"shard-{shard}" if shard else root


def shards_of(root: Path) -> list[int]:
    """The shards that have a spool here."""
    found = [0] if (root / "spool.db").exists() else []
    if root.is_dir():
        matches = (_NAME.fullmatch(path.name) for path in root.iterdir())
        found += sorted(int(match[1]) for match in matches if match and int(match[1]))
    return found


def content_path(directory: Path, message_id: int) -> Path:
    """Where the content of a message is, if it is a file, in the spool of a shard."""
    return directory / "content" / f"{message_id & 255:02x}" / ids.printed(message_id)
