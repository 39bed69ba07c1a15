"""How a directive is declared: a dataclass field that knows its kind, default and meaning."""

import enum
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, cast

from mta.settings.kinds import Kind

T = TypeVar("T")
_KEY = "directive"


class Status(enum.Enum):
    """What a directive does in this version."""

    IN_FORCE = "in force"
    NOT_YET = "not in force yet"
    NO_EFFECT = "accepted without effect"


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive of one scope, as everything derived from it sees it."""

    name: str
    attribute: str
    scope: str
    kind: Kind[Any]
    default: Any
    doc: str
    repeats: bool
    status: Status
    reason: str
    """Why it has no effect, or what is missing."""
    needs_restart: bool
    means: str
    """The present name of an old spelling, or empty."""
    default_text: str
    """What the default is where it is no fixed value."""
    is_ours: bool
    """Whether PowerMTA has no such directive."""
    not_yet_values: tuple[str, ...]
    """Values that are read and not in force yet, where others are."""

    @property
    def printed_default(self) -> str:
        """The default as a configuration would write it."""
        return self.default_text or self.printed(self.default)

    def printed(self, value: Any) -> str:  # noqa: ANN401 - of the directive's kind
        """A value, or all values of a directive that repeats, as people see it."""
        shown = self.kind.shown or self.kind.print
        text: str = ", ".join(map(shown, value)) if self.repeats else shown(value)
        return text or '""'


class Scope(Protocol):
    """A class whose fields are the directives of one scope."""

    scope: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Declared:
    kind: Kind[Any]
    doc: str
    name: str = ""
    repeats: bool = False
    status: Status = Status.IN_FORCE
    reason: str = ""
    needs_restart: bool = False
    means: str = ""
    default_text: str = ""
    is_ours: bool = False
    not_yet_values: tuple[str, ...] = ()


def directive(
    kind: Kind[T],
    default: T,
    doc: str,
    *,
    name: str = "",
    not_yet: bool = False,
    no_effect: str = "",
    needs_restart: bool = False,
    means: str = "",
    default_text: str = "",
    is_ours: bool = False,
    not_yet_values: tuple[str, ...] = (),
) -> T:
    """A directive that is given once; where it is given more often the last one counts.

    `no_effect` is the reason why it never does anything; `not_yet` that it will.
    """
    declared = _Declared(
        kind=kind,
        doc=doc,
        name=name,
        status=_status(not_yet=not_yet, no_effect=no_effect),
        reason=no_effect,
        needs_restart=needs_restart,
        means=means,
        default_text=default_text,
        is_ours=is_ours,
        not_yet_values=not_yet_values,
    )
    return field(default=default, metadata={_KEY: declared})


def repeated(
    kind: Kind[T],
    doc: str,
    *,
    name: str = "",
    not_yet: bool = False,
    no_effect: str = "",
    needs_restart: bool = False,
    means: str = "",
    default_text: str = "",
    is_ours: bool = False,
) -> tuple[T, ...]:
    """A directive that adds one value each time it is given."""
    declared = _Declared(
        kind=kind,
        doc=doc,
        name=name,
        repeats=True,
        status=_status(not_yet=not_yet, no_effect=no_effect),
        reason=no_effect,
        needs_restart=needs_restart,
        means=means,
        default_text=default_text,
        is_ours=is_ours,
    )
    return cast("tuple[T, ...]", field(default=(), metadata={_KEY: declared}))


def _status(*, not_yet: bool, no_effect: str) -> Status:
    if no_effect:
        return Status.NO_EFFECT
    return Status.NOT_YET if not_yet else Status.IN_FORCE


@cache
def directives(scope: type[Scope]) -> dict[str, Directive]:
    """The directives of a scope by name, in the order of their declaration."""
    found = {}
    for one in fields(cast("Any", scope)):
        declared = one.metadata.get(_KEY)
        if declared is None:
            continue
        assert one.default is not MISSING
        name = declared.name or one.name.replace("_", "-")
        found[name] = Directive(
            name=name,
            attribute=one.name,
            scope=scope.scope,
            kind=declared.kind,
            default=one.default,
            doc=declared.doc,
            repeats=declared.repeats,
            status=declared.status,
            reason=declared.reason,
            needs_restart=declared.needs_restart,
            means=declared.means,
            default_text=declared.default_text,
            is_ours=declared.is_ours,
            not_yet_values=declared.not_yet_values,
        )
    return found


@cache
def by_attribute(scope: type[Scope]) -> dict[str, Directive]:
    """The directives of a scope by the field that holds them."""
    return {one.attribute: one for one in directives(scope).values()}
