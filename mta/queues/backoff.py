"""Which limits hold in which mode. Guide: backoff mode.

`backoff-max-msg-rate`, `-data-volume-rate` and `-connect-rate` default to the normal value;
`backoff-max-smtp-out` and `backoff-retry-after` have defaults of their own.
"""

from typing import NamedTuple, Protocol

from mta.units import DataRate, Rate


class PaceSettings(Protocol):
    """What the pace of a queue depends on."""

    @property
    def max_smtp_out(self) -> int: ...
    @property
    def max_msg_rate(self) -> Rate | None: ...
    @property
    def max_data_volume_rate(self) -> DataRate | None: ...
    @property
    def max_connect_rate(self) -> Rate | None: ...
    @property
    def retry_after(self) -> tuple[int, ...]: ...
    @property
    def backoff_max_smtp_out(self) -> int: ...
    @property
    def backoff_max_msg_rate(self) -> Rate | None: ...
    @property
    def backoff_max_data_volume_rate(self) -> DataRate | None: ...
    @property
    def backoff_max_connect_rate(self) -> Rate | None: ...
    @property
    def backoff_retry_after(self) -> tuple[int, ...]: ...


class Pace(NamedTuple):
    """The limits of a queue in one of its modes. Rates are None where unlimited."""

    max_smtp_out: int
    max_msg_rate: Rate | None
    max_data_volume_rate: DataRate | None
    max_connect_rate: Rate | None
    retry_after: tuple[int, ...]


def effective(settings: PaceSettings, mode: str) -> Pace:
    """The limits in that mode, `normal` or `backoff`."""
    if mode != "backoff":
        return Pace(
            settings.max_smtp_out,
            settings.max_msg_rate,
            settings.max_data_volume_rate,
            settings.max_connect_rate,
            settings.retry_after,
        )
    return Pace(
        settings.backoff_max_smtp_out,
        settings.backoff_max_msg_rate or settings.max_msg_rate,
        settings.backoff_max_data_volume_rate or settings.max_data_volume_rate,
        settings.backoff_max_connect_rate or settings.max_connect_rate,
        settings.backoff_retry_after,
    )
