"""`mta plan`: what a file would change, for people and for machines."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from mta.admin.files import load_file
from mta.config.configuration import Configuration
from mta.config.plan import Change, Plan, compare
from mta.errors import PetrelError
from mta.model.queue_key import QueueKey

LABELS_SHOWN = 4
"""Queues named for one change; there may be thousands."""


def plan(against: str, file: str, *, held: Sequence[QueueKey] | None, as_json: bool = False) -> str:
    """Compare a file with another; PetrelError if one cannot be used.

    `held` are the queues with mail of the daemon that runs; None if none answers.
    """
    found = compare(_load(against), _load(file), held or ())
    if as_json:
        return _to_json(found)
    lines = list(_lines(found))
    if held is None:
        lines.append("No daemon answers: queues that hold mail were not looked at.")
    return "".join(f"{line}\n" for line in lines)


def _load(path: str) -> Configuration:
    loaded = load_file(path)
    if loaded.configuration is None:
        errors = [str(d) for d in loaded.diagnostics if d.severity == "error"]
        more = f"\n(and {len(errors) - 1} more; see mta check {path})" if len(errors) > 1 else ""
        raise PetrelError(f"{errors[0]}{more}")
    return loaded.configuration


def _lines(found: Plan) -> Iterator[str]:
    if found.is_empty:
        yield "Nothing would change."
        return
    for key in found.stranded:
        yield f"! {key} holds mail, and there would be no VirtualMTA {key.vmta}: it would bounce"
    for change in found.top:
        yield f"~ {_arrow(change)}{', at the next start' if change.needs_restart else ''}"
    for what in found.restarts:
        yield f"~ {what}: another one, at the next start"
    for name in found.appear:
        yield f"+ {name}"
    for name in found.vanish:
        yield f"- {name}"
    for name in found.unreached:
        yield f"- VirtualMTA {name}: no mail could come to it any more; what it holds goes out"
    for name, change in found.changed:
        yield f"~ {name}: {_arrow(change)}"
    for change, labels in found.queues.items():
        shown = ", ".join(labels[:LABELS_SHOWN])
        more = f" and {len(labels) - LABELS_SHOWN} more" if len(labels) > LABELS_SHOWN else ""
        yield f"~ queues {shown}{more}: {_arrow(change)}"


def _arrow(change: Change) -> str:
    place = f" ({change.place})" if change.place else " (by default)"
    return f"{change.directive} {change.before} → {change.after}{place}"


def _to_json(found: Plan) -> str:
    document = asdict(found)
    document["stranded"] = [str(key) for key in found.stranded]
    document["top"] = [_tree(change) for change in found.top]
    document["changed"] = [{"of": name, **_tree(change)} for name, change in found.changed]
    document["queues"] = [
        {"queues": labels, **_tree(change)} for change, labels in found.queues.items()
    ]
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _tree(change: Change) -> dict[str, str]:
    return {
        "directive": change.directive,
        "before": change.before,
        "after": change.after,
        "place": str(change.place) if change.place else "",
    }
