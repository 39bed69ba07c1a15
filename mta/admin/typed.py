"""What is typed, made whole: words and options may be shortened while they stay unique."""

from pathlib import Path

import click

from mta.admin.command import AdminCommand, UsageError, match_word


class Words(click.Group):
    """Commands of which the next word chooses one; a word may be shortened."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        name = cmd_name.lower()
        shown = [word for word, command in self.commands.items() if not command.hidden]
        if not any(word.startswith(name) for word in shown):
            shown = [word for word in self.commands if word.startswith(name)] or shown
        try:
            return self.commands.get(name) or self.commands[match_word(name, shown)]
        except UsageError as error:
            raise click.UsageError(str(error), ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        longer = command.longer if isinstance(command, Command) else {}
        if rest and rest[0] in longer and not Path(rest[0]).exists():
            return rest[0], longer[rest[0]], rest[1:]
        return name, command, rest


class Command(click.Command):
    """One admin command. A flag that may have a value has it only after `=`.

    Options may be shortened as words may. Guide: `show dom --conn`.
    """

    declared: AdminCommand
    longer: dict[str, click.Command]
    """Commands that begin as it does, by their last word: `check spf` is one, `check FILE` another
    (of a file that is there)."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.ignore_unknown_options:
            return super().parse_args(ctx, args)
        flags = {
            f"--{p.name.lower()}": p.flag
            for p in self.declared.parameters
            if p.flag and p.takes_value
        }
        names = {name for one in self.get_params(ctx) for name in one.opts if name[:2] == "--"}
        end = args.index("--") if "--" in args else len(args)
        whole = [_whole_option(arg, names, ctx) for arg in args[:end]]
        given = [f"{a}={flags[a.lower()]}" if a.lower() in flags else a for a in whole]
        return super().parse_args(ctx, [*given, *args[end:]])


def _whole_option(arg: str, names: set[str], context: click.Context) -> str:
    """An option that is written only so far that it can be no other, whole."""
    name, equals, value = arg.partition("=")
    lower = name.lower()
    if lower[:2] != "--" or lower in map(str.lower, names):
        return arg
    found = sorted(one for one in names if one.lower().startswith(lower))
    if len(found) > 1:
        raise click.UsageError(f"{name} may be {' or '.join(found)}; write more of it", context)
    return f"{found[0]}{equals}{value}" if found else arg
