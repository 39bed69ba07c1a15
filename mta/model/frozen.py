"""Values that every message makes some of: frozen to the type checker, cheap at run time.

A frozen dataclass sets each field by a call of `object.__setattr__`. That is ten times as much
as a plain assignment, and for an envelope five microseconds. Nobody writes to such a value
nevertheless: `make types` refuses it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """A dataclass with slots that is compared and hashed by its fields, and never changed."""

    def made(cls: type[T]) -> type[T]:
        return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)(cls)

    return made
