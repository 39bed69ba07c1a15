"""What is typed, made whole: words and options may be shortened while they stay unique."""

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


class Command(click.Command):
    """One admin command. A flag that may have a value has it only after `=`.

    Options may be shortened as words may. Guide: `show dom --conn`.
    """

    declared: AdminCommand
    refused: frozenset[str] = frozenset()
    """Words of commands that begin as it does and are refused with all their options: `check spf`
    is a command, `check FILE` is another."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and f"{self.declared.words} {args[0]}" in self.refused:
            ctx.ignore_unknown_options = True
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
