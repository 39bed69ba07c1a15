"""What an admin command is: declared once, in `mta.admin.commands`.

From a declaration come the command line, the check of a request that arrives on the
control socket, and the reference page. Whatever a parameter holds crosses the socket as
the text an operator would type and is parsed by the declaration on both sides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from mta.admin.answers import Answer
from mta.admin.operations import CommandRefusedError, Operations
from mta.errors import PetrelError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A", bound=Answer)


class UsageError(PetrelError):
    """A command that was put wrongly: unknown, ambiguous, or with a wrong argument."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parameter(Generic[T_co]):
    """An argument or option. `parse` raises ValueError with what was expected."""

    name: str
    """As written: `maxitems` is `--maxitems` if it is an option."""
    parse: Callable[[str], T_co]
    default: T_co
    help: str
    metavar: str = "TEXT"
    is_option: bool = True
    is_required: bool = False
    flag: str = ""
    """What the option means without a value (`yes`); empty if it must have one."""
    takes_value: bool = True
    """Whether `--name=VALUE` is allowed; an option without is a plain flag."""
    is_repeated: bool = False
    """Whether it takes all further words; only the last argument of a local command."""
    also: str = ""
    """Another spelling of an option, of an older version."""

    @property
    def spelling(self) -> str:
        """How usage lines show it."""
        if not self.is_option:
            return self.metavar if self.is_required else f"[{self.metavar}]"
        if not self.takes_value:
            return f"--{self.name}"
        return f"--{self.name}[={self.metavar}]" if self.flag else f"--{self.name}={self.metavar}"


class Arguments:
    """The values of one call; `arguments[PARAMETER]` has the parameter's own type."""

    def __init__(self, parameters: Sequence[Parameter[object]], raw: Mapping[str, str]) -> None:
        known = {parameter.name: parameter for parameter in parameters}
        self._values: dict[str, object] = {}
        for name, text in raw.items():
            parameter = known.get(name)
            if parameter is None:
                raise UsageError(f"unknown argument {name!r}")
            try:
                self._values[name] = parameter.parse(text)
            except ValueError as error:
                raise UsageError(f"{parameter.spelling}: {error}, not {text!r}") from None
        for parameter in parameters:
            if parameter.is_required and parameter.name not in self._values:
                raise UsageError(f"{parameter.spelling} is missing")

    def __getitem__(self, parameter: Parameter[T]) -> T:
        return cast("T", self._values.get(parameter.name, parameter.default))


Run = Callable[[Sequence[Operations], Arguments], Awaitable[Answer]]
"""Carries a command out in every shard and makes one answer of theirs."""

Stream = Callable[[Operations, Arguments], AsyncIterator[str]]
"""Carries a command out in one shard and yields lines as they come."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AdminCommand:
    """One command. Exactly one of `run`, `stream`, `unavailable` and `local` is set."""

    words: str
    help: str
    changes: bool = False
    """Whether it changes anything: mail, queues, files, or the daemon."""
    is_for_daemon: bool = False
    """Whether it is about what a daemon has one of, so that no shard need be there for it."""
    parameters: tuple[Parameter[object], ...] = ()
    aliases: tuple[str, ...] = ()
    run: Run | None = None
    stream: Stream | None = None
    stream_for: Parameter[int | None] | None = None
    """The parameter that says after how many seconds the stream ends."""
    done: str = ""
    """What a Changed answer says, with `{count}` and `{matching}`."""
    unavailable: str = ""
    """Why a command of the manual is refused."""
    example: str = ""
    local: bool = False
    """Whether the command line does it by itself, without a daemon."""
    forms: tuple[str, ...] = ("text", "dom", "xml", "json")
    """In which it answers."""
    check: Callable[[Arguments], None] = field(default=lambda _: None)
    """Raises UsageError where parameters are wrong only together."""

    @property
    def usage(self) -> str:
        """The command as its help shows it, with all its parameters."""
        return " ".join([self.words, *(_bracketed(p) for p in self.parameters)])

    @property
    def only_shows(self) -> bool:
        """Whether a part of the answer is better than none."""
        return self.words == "explain" or self.words.startswith("show ")

    def check_form(self, form: str) -> None:
        """UsageError if it does not answer in that form."""
        if form not in self.forms:
            there = [f"--{one}" for one in self.forms if one != "text"]
            instead = f"; it has {_alternatives(there)}" if there else ""
            raise UsageError(f"{self.words} has no --{form}, only text{instead}")

    def arguments(self, raw: Mapping[str, str]) -> Arguments:
        """Parse and check; UsageError says what is wrong."""
        arguments = Arguments(self.parameters, raw)
        self.check(arguments)
        return arguments


def _bracketed(parameter: Parameter[object]) -> str:
    is_optional = parameter.is_option and not parameter.is_required
    return f"[{parameter.spelling}]" if is_optional else parameter.spelling


def merged(
    call: Callable[[Operations, Arguments], Awaitable[A]],
    merge: Callable[[Sequence[A], Arguments], Answer],
) -> Run:
    """A run whose answers of all shards become one; the first refusal refuses it all."""

    async def run(shards: Sequence[Operations], arguments: Arguments) -> Answer:
        answers = [await call(operations, arguments) for operations in shards]
        return merge(answers, arguments)

    return run


async def in_each(
    call: Callable[[Operations, Arguments], Awaitable[T]],
    shards: Sequence[Operations],
    arguments: Arguments,
    did: Callable[[Sequence[T]], str],
) -> list[T]:
    """Change something in all shards; where one refuses, say what `did` says of those before."""
    answers: list[T] = []
    for number, operations in enumerate(shards):
        try:
            answers.append(await call(operations, arguments))
        except CommandRefusedError as refusal:
            done = did(answers) if answers else ""
            if not done:
                raise
            lines = [f"done in part only; {_workers(0, number)}: {done}", str(refusal)]
            if number + 1 < len(shards):
                lines.append(f"not asked: {_workers(number + 1, len(shards))}")
            lines.append("try again in a moment for the rest; what was done stays done")
            raise CommandRefusedError("\n".join(lines)) from None
    return answers


def _workers(start: int, end: int) -> str:
    return ", ".join(f"worker {number}" for number in range(start, end))


def from_owner(
    call: Callable[[Operations, Arguments], Awaitable[A]],
    merge: Callable[[Sequence[A], Arguments], Answer],
) -> Run:
    """A run in which the shards that do not know the subject refuse, and others answer."""

    async def run(shards: Sequence[Operations], arguments: Arguments) -> Answer:
        answers, refusals = [], []
        for operations in shards:
            try:
                answers.append(await call(operations, arguments))
            except CommandRefusedError as refusal:
                refusals.append(refusal)
        if not answers:
            raise refusals[0]
        return merge(answers, arguments)

    return run


def find_command(commands: Sequence[AdminCommand], words: str) -> AdminCommand:
    """The command of exactly these words; UsageError if there is none."""
    for command in commands:
        if words == command.words or words in command.aliases:
            return command
    raise UsageError(f"unknown command {words!r}; `mta --help` lists all commands")


def match_word(word: str, words: Sequence[str]) -> str:
    """The one of words that word is, or is the unique beginning of; UsageError if none.

    Guide: pmta; words may be shortened while they stay unique.
    """
    word = word.lower()
    if word in words:
        return word
    matches = [candidate for candidate in words if candidate.startswith(word)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{word!r} may be {_alternatives(matches)}; write more of it")
    raise UsageError(f"no command {word!r} here; expected {_alternatives(list(words))}")


def _alternatives(words: list[str]) -> str:
    *others, last = sorted(words)
    return f"{', '.join(others)} or {last}" if others else last
