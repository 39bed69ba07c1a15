"""What holds for a queue as a configuration says it: that of the daemon, or a file's."""

from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mta.admin.answers import DirectiveAnswer, Hidden, Setting, SettingsAnswer
from mta.admin.operations import CommandRefusedError
from mta.model.queue_key import QueueKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mta.config.configuration import Configuration, Explained


def settings(configuration: "Configuration", queue: QueueKey) -> SettingsAnswer:
    """Every directive of a queue and of its VirtualMTA."""
    return SettingsAnswer(
        queue,
        settings_of(configuration.explain_vmta(queue.vmta)),
        settings_of(configuration.explain(queue)),
    )


def settings_of(explained: "Iterable[Explained]") -> tuple[Setting, ...]:
    """Directives as an answer has them."""
    return tuple(
        Setting(
            directive=one.directive,
            value=one.value_text,
            place=str(one.place) if one.place else "",
            hides=tuple(Hidden(value, str(place) if place else "") for value, place in one.hides),
            note=one.note,
        )
        for one in explained
    )


def directive(answer: SettingsAnswer, wanted: str) -> DirectiveAnswer:
    """Those of the directives that match; CommandRefusedError if none does."""
    known = [*answer.vmta_settings, *answer.queue_settings]
    found = tuple(one for one in known if fnmatchcase(one.directive, wanted.lower()))
    if not found:
        close = get_close_matches(wanted.lower(), [one.directive for one in known], 1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        raise CommandRefusedError(f'a queue has no directive "{wanted.lower()}"{hint}')
    return DirectiveAnswer(answer.queue, found)


def explained(answer: SettingsAnswer, wanted: str) -> DirectiveAnswer:
    """The directives wanted; if none is named, those that the configuration gives."""
    if wanted:
        return directive(answer, wanted)
    known = (*answer.vmta_settings, *answer.queue_settings)
    return DirectiveAnswer(answer.queue, tuple(one for one in known if one.place))


def in_file(path: str, queue: QueueKey) -> SettingsAnswer:
    """What a file says of a queue; CommandRefusedError if it has errors or no such queue."""
    from mta.admin.files import load_file  # noqa: PLC0415 - most calls ask the daemon

    loaded = load_file(path)
    configuration = loaded.configuration
    if configuration is None:
        first = next(d for d in loaded.diagnostics if d.severity == "error")
        raise CommandRefusedError(f"{first}\n(`mta check {path}` names all there is)")
    if configuration.vmta(queue.vmta) is None:
        names = configuration.vmta_names()
        close = get_close_matches(queue.vmta, names, 1)
        pool = configuration.pool(queue.vmta)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        if pool is not None:
            hint = f"; it is a pool of {', '.join(pool.virtual_mta)}"
        raise CommandRefusedError(f'{path} has no VirtualMTA "{queue.vmta}"{hint}')
    return settings(configuration, queue)
