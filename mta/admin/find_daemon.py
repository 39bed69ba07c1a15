"""Where the daemon of a configuration file listens for commands.

An operator mends a broken configuration with the commands that this finds, and calls
them in loops: so a spool is looked for line by line, in files that need not be free of
errors, and the whole configuration is loaded only where no line names one.
"""

from collections.abc import Iterator
from glob import glob
from pathlib import Path

from mta.admin.socket_path import NAME
from mta.errors import PetrelError


def control_socket(config: Path) -> Path:
    """The path of the control socket; PetrelError if the file does not tell."""
    try:
        directory = next(_spools(config, config.parent, set()), None)
    except OSError as error:
        raise PetrelError(
            f"cannot read {config}: {error.strerror}; name the configuration with --config"
        ) from None
    return (directory or _default_spool(config)) / NAME


def _spools(file: Path, base: Path, seen: set[Path]) -> Iterator[Path]:
    seen.add(file)
    for line in file.read_text("utf-8", "replace").splitlines():
        word, *others = line.strip().removeprefix("<").split(None, 1) or [""]
        rest = others[0] if others else ""
        match word.lower():
            case "spool":
                yield base / _value(rest)
            case "include":
                pattern = base / _value(rest)
                for name in sorted(glob(str(pattern))):  # noqa: PTH207 - may be absolute
                    if Path(name) not in seen:
                        yield from _spools(Path(name), base, seen)
            case _:
                pass


def _value(text: str) -> str:
    """The first word of text, without quotes, comment or the end of a tag."""
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return text.split(None, 1)[0].removesuffix(">") if text else ""


def _default_spool(config: Path) -> Path:
    from mta.admin.files import DiskFiles  # noqa: PLC0415 - most calls do without
    from mta.config.load import load  # noqa: PLC0415 - likewise

    configuration = load(str(config), DiskFiles()).configuration
    if configuration is None:
        raise PetrelError(f"{config} names no spool and has errors; see `mta check {config}`")
    return Path(configuration.spools[0].directory)
