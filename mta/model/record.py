"""One row of accounting, before it is laid out in columns."""

from typing import NamedTuple


class Record(NamedTuple):
    """What happened, by field name. Guide: accounting files.

    `kind` is the short type (`d`, `b`, `t`, `tq`, `r`, `c`). Times among the values are
    epoch seconds as floats; a missing value is absent.
    """

    kind: str
    values: dict[str, str | float | int]
