"""The command line: `mta` and `pmta`, derived from the declarations of the admin commands.

Words may be shortened while they stay unique. What a command needs is imported when it
runs: operators call this in loops.
"""
# ruff: noqa: PLC0415 - see above

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, cast

import click

import mta
from mta.admin.command import AdminCommand, Arguments, Parameter, UsageError
from mta.admin.commands import COMMANDS, PRODUCT
from mta.admin.local_commands import (
    AGAINST,
    CHECK_FORMAT,
    DKIM_CONFIG,
    DKIM_SUBJECT,
    DNS,
    DOMAIN,
    FILES,
    KEY_FILE,
    KEY_TYPE,
    LOCAL_COMMANDS,
    NAME,
    NAME_SERVER,
    ONCE,
    PLANNED,
    SCRAM,
    SELECTOR,
    STRICT,
    WRITE,
)
from mta.admin.parameters import DIRECTIVE, IN_FILE, QUEUE, SUBJECT
from mta.admin.protocol import EXIT_MEANINGS, Exit, Request
from mta.admin.render import Format, render_failure
from mta.admin.typed import Command, Words
from mta.errors import PetrelError

DEFAULT_CONFIG: Final = "/etc/pmta/config"
INTERRUPTED: Final = 130
"""What shells make of a program that SIGINT ended."""

_FORM_NAMES: Final = {"dom": 'lines path="value"', "xml": "XML", "json": "JSON"}

_EPILOG: Final = "\b\nExit status:\n" + "\n".join(
    f"  {code}  {meaning}" for code, meaning in EXIT_MEANINGS.items()
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out what the command line says; the exit status."""
    try:
        code = _root().main(arguments, prog_name=_program(), standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _out(render_failure(error.format_message(), _format_asked_for(arguments)))
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`) has what it wanted. Nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.REFUSED)
    return code if isinstance(code, int) else int(Exit.DONE)


def _format_asked_for(arguments: Sequence[str] | None) -> Format:
    """What a command line asks for that could not be read."""
    form: Format = "text"
    for word in sys.argv[1:] if arguments is None else arguments:
        if word == "--":
            break
        for name in _FORM_NAMES:
            if word.lower() == f"--{name}":
                form = cast("Format", name)
    return form


def _program() -> str:
    name = Path(sys.argv[0]).name
    return name if name in ("mta", "pmta") else "mta"


@dataclass(slots=True)
class _Options:
    """What may stand before a command as well as after it."""

    config: str = DEFAULT_CONFIG
    format: Format = "text"

    @classmethod
    def of(cls, context: click.Context) -> Self:
        return context.find_root().ensure_object(cls)


def _root() -> click.Group:
    root = Words(
        name="mta",
        help="A mail transfer agent for senders of large volumes. Words may be shortened "
        "while they stay unique.",
        epilog=_EPILOG,
        params=_common_options(),
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "token_normalize_func": str.lower,
        },
    )
    click.version_option(mta.__version__, message=f"{PRODUCT} v%(version)s")(root)
    for command in (*LOCAL_COMMANDS, *COMMANDS):
        for words in (command.words, *command.aliases):
            _add(root, command, words.split())
    return root


def _add(root: click.Group, command: AdminCommand, words: list[str]) -> None:
    group = root
    for word in words[:-1]:
        below = group.commands.get(word)
        if below is None:
            below = Words(name=word, hidden=True, params=_common_options())
            group.add_command(below)
        if isinstance(below, Command):
            below.longer[words[-1]] = _command(command, words[-1])
            return
        assert isinstance(below, click.Group)
        if not command.unavailable:
            below.hidden = False
            below.short_help = ", ".join([*filter(None, [below.short_help]), words[-1]])
        group = below
    group.add_command(_command(command, words[-1]))


def _command(declared: AdminCommand, word: str) -> Command:
    if declared.unavailable:
        command = Command(
            name=word,
            callback=click.pass_context(lambda context, **_: _refuse(context, declared)),
            params=[*_common_options(), click.Argument(["words"], nargs=-1)],
            help=f"Not available: {declared.unavailable}.",
            hidden=True,
            context_settings={"ignore_unknown_options": True},
        )
    else:
        action = _in_its_forms(_LOCAL[declared.words] if declared.local else _ask)
        command = Command(
            name=word,
            callback=click.pass_context(
                lambda context, **values: action(context, declared, _given(values))
            ),
            params=[*_common_options(), *map(_param, declared.parameters)],
            help=_help(declared),
            epilog=f"Example: mta {declared.example}" if declared.example else None,
        )
    if declared.words == "sink":  # it knows its own options, --help among them
        command.add_help_option = False
        command.context_settings["ignore_unknown_options"] = True
    command.declared = declared
    command.longer = {}
    return command


_Action = Callable[[click.Context, AdminCommand, "_Given"], int]


def _in_its_forms(action: _Action) -> _Action:
    """An action that is not begun in a form it does not have."""

    def checked(context: click.Context, command: AdminCommand, given: _Given) -> int:
        try:
            command.check_form(_Options.of(context).format)
        except UsageError as error:
            raise click.UsageError(str(error), context) from None
        return action(context, command, given)

    return checked


def _help(declared: AdminCommand) -> str:
    text = f"{declared.help[0].upper()}{declared.help[1:]}."
    arguments = [p for p in declared.parameters if not p.is_option]
    return "\n\n".join([text, *(f"{p.metavar}: {p.help}." for p in arguments)])


def _param(parameter: Parameter[object]) -> click.Parameter:
    if not parameter.is_option:
        return click.Argument(
            [_identifier(parameter)],
            metavar=parameter.spelling,
            shell_complete=_directive_names if parameter in (NAME, DIRECTIVE) else None,
            required=parameter.is_required,
            nargs=-1 if parameter.is_repeated else 1,
        )
    spellings = [name for name in (parameter.name, parameter.also) if name]
    names = [_identifier(parameter), *(f"--{name}" for name in spellings)]
    if not parameter.takes_value:
        return click.Option(names, flag_value=parameter.flag, help=parameter.help)
    return click.Option(
        names, metavar=parameter.metavar, required=parameter.is_required, help=parameter.help
    )


def _directive_names(_: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """What the shell offers."""
    from mta.config.sections import places_by_name

    return sorted(name for name in places_by_name() if name.startswith(begun.lower()))


def _identifier(parameter: Parameter[object]) -> str:
    return parameter.name.replace("-", "_")


_Given = Mapping[str, str | tuple[str, ...]]
"""By identifier, what was typed; nothing for what was not."""


def _given(values: Mapping[str, object]) -> _Given:
    given = {name: value for name, value in values.items() if value not in (None, ())}
    return cast("_Given", given)


def _common_options() -> list[click.Parameter]:
    def note(context: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None and option.name is not None:
            setattr(_Options.of(context), option.name, value)

    config = click.Option(
        ["config", "--config"],
        metavar="FILE",
        callback=note,
        expose_value=False,
        help=f"The daemon's configuration, by which it is found; default {DEFAULT_CONFIG}.",
    )
    forms = [
        click.Option(
            ["format", f"--{form}"],
            flag_value=form,
            callback=note,
            expose_value=False,
            help=f"Answer as {_FORM_NAMES[form]}.",
        )
        for form in _FORM_NAMES
    ]
    return [config, *forms]


def _ask(context: click.Context, command: AdminCommand, given: _Given) -> int:
    """Put the command to the daemon."""
    from mta.admin.client import ask
    from mta.admin.find_daemon import control_socket

    options = _Options.of(context)
    raw = _raw(command, given)
    request = Request(command=command.words, arguments=raw, format=options.format)
    try:
        arguments = command.arguments(raw)
        if IN_FILE.name in raw and IN_FILE in command.parameters:
            return _ask_file(context, command, arguments)
        answer = _Answer(options.format)
        code = ask(
            control_socket(Path(options.config)),
            request,
            out=answer.out,
            error=answer.error,
            is_stream=command.stream is not None,
        )
        answer.end(code)
        return code
    except UsageError as error:
        raise click.UsageError(str(error), context) from None
    except PetrelError as error:
        return _fail(context, str(error), Exit.USAGE)
    except KeyboardInterrupt:
        return int(Exit.DONE) if command.stream is not None else INTERRUPTED


def _raw(command: AdminCommand, given: _Given) -> dict[str, str]:
    return {
        p.name: str(given[_identifier(p)]) for p in command.parameters if _identifier(p) in given
    }


class _Answer:
    """Passes an answer on; where the daemon gave no document about a failure, it makes one."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._is_empty = True
        self._errors: list[str] = []

    def out(self, text: str) -> None:
        self._is_empty = False
        _out(text)

    def error(self, text: str) -> None:
        self._errors.append(text)
        _error(text)

    def end(self, code: Exit) -> None:
        if self._is_empty and code is not Exit.DONE:
            _out(render_failure("\n".join(self._errors), self._form))


def _ask_file(context: click.Context, command: AdminCommand, arguments: Arguments) -> int:
    """What a file says of a queue, without a daemon."""
    from mta.admin import effective
    from mta.admin.render import render

    subject = arguments[QUEUE] if QUEUE in command.parameters else arguments[SUBJECT]
    if isinstance(subject, int):
        raise UsageError("a message is in no configuration file; name a queue")
    try:
        found = effective.in_file(arguments[IN_FILE], subject)
        is_whole = SUBJECT not in command.parameters
        answer = found if is_whole else effective.explained(found, arguments[DIRECTIVE])
    except PetrelError as error:
        return _fail(context, str(error), Exit.REFUSED)
    _out(render(answer, _Options.of(context).format))
    return int(Exit.DONE)


def _refuse(context: click.Context, command: AdminCommand) -> int:
    return _fail(context, f"{command.words}: {command.unavailable}", Exit.REFUSED)


def _fail(context: click.Context, text: str, code: Exit) -> int:
    _out(render_failure(text, _Options.of(context).format))
    _error(text)
    return int(code)


def _out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _error(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr)


def _run(context: click.Context, _command: AdminCommand, _given: _Given) -> int:
    from mta.daemon.main import run

    return run(_Options.of(context).config)


def _check(context: click.Context, _command: AdminCommand, given: _Given) -> int:
    files = given[FILES.name]
    assert isinstance(files, tuple)
    try:
        wanted = given.get(CHECK_FORMAT.name)
        form = _Options.of(context).format if wanted is None else CHECK_FORMAT.parse(str(wanted))
    except ValueError as error:
        raise click.UsageError(f"--format: {error}", context) from None
    from mta.admin.check import check

    found = check(
        files,
        form=cast("Format", form),
        is_strict=STRICT.name in given,
        asks_dns=DNS.name in given,
    )
    _out(found.text)
    return int(found.exit)


def _test_config(context: click.Context, _command: AdminCommand, _given: _Given) -> int:
    from mta.admin.check import check

    options = _Options.of(context)
    found = check([options.config], form=options.format, is_for_this_host=True)
    _out(found.text)
    return int(found.exit)


def _plan(context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.admin.held import held_queues
    from mta.admin.plan_text import plan

    options = _Options.of(context)
    against = str(given.get(AGAINST.name, ""))
    try:
        held = () if against else held_queues(Path(options.config))
        file = str(given[PLANNED.name])
        _out(plan(against or options.config, file, held=held, as_json=options.format == "json"))
    except PetrelError as error:
        return _fail(context, str(error), Exit.REFUSED)
    return int(Exit.DONE)


def _fmt(_context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.admin.lay_out import lay_out

    files = given[FILES.name]
    assert isinstance(files, tuple)
    done = lay_out(files, writes=WRITE.name in given)
    _out(done.text)
    for problem in done.problems:
        _error(problem)
    return int(Exit.REFUSED if done.problems else Exit.DONE)


def _directives(context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.admin.directives_text import describe

    name = str(given.get(NAME.name, ""))
    try:
        _out(describe(name, _Options.of(context).format))
    except PetrelError as error:
        return _fail(context, str(error), Exit.REFUSED)
    return int(Exit.DONE)


def _hash_password(context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.admin.hash_password import NoPasswordError, hash_password

    try:
        _out(hash_password(scram=SCRAM.name in given))
    except NoPasswordError as error:
        return _fail(context, str(error), Exit.REFUSED)
    return int(Exit.DONE)


def _dkim(context: click.Context, command: AdminCommand, given: _Given) -> int:
    from mta.admin import dkim

    try:
        a = command.arguments(_raw(command, given))
        match command.words:
            case "dkim generate":
                done = dkim.generate(a[SELECTOR], a[DOMAIN], a[KEY_TYPE], a[KEY_FILE])
            case "dkim check":
                lookup = dkim.name_server(a[NAME_SERVER])
                done = dkim.check(a[DKIM_SUBJECT], a[SELECTOR], a[DOMAIN], lookup)
            case _:
                done = dkim.records(a[DKIM_CONFIG] or _Options.of(context).config)
    except UsageError as error:
        raise click.UsageError(str(error), context) from None
    except PetrelError as error:
        return _fail(context, str(error), Exit.REFUSED)
    _out(done.text)
    return int(done.exit)


def _by_arguments(context: click.Context, command: AdminCommand, given: _Given) -> int:
    from mta.admin.digest import digest
    from mta.admin.resolve import resolve
    from mta.admin.spf_check import check_spf

    run = {"check spf": check_spf, "digest": digest, "resolve": resolve}[command.words]
    options = _Options.of(context)
    try:
        arguments = command.arguments(_raw(command, given))
        return int(run(arguments, options.config, options.format, _out))
    except UsageError as error:
        raise click.UsageError(str(error), context) from None
    except PetrelError as error:
        return _fail(context, str(error), Exit.REFUSED)


def _sink(_context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.sim.sink_command import run

    return run(list(given.get("options", ())))


def _demo(context: click.Context, _command: AdminCommand, given: _Given) -> int:
    from mta.sim.demo import run

    del context
    return run(is_once=ONCE.name in given)


_LOCAL: Final[Mapping[str, _Action]] = {
    "run": _run,
    "check": _check,
    "test config": _test_config,
    "plan": _plan,
    "fmt": _fmt,
    "directives": _directives,
    "hash-password": _hash_password,
    "dkim generate": _dkim,
    "dkim check": _dkim,
    "dkim dns": _dkim,
    "check spf": _by_arguments,
    "digest": _by_arguments,
    "resolve": _by_arguments,
    "sink": _sink,
    "demo": _demo,
}
