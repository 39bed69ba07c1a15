"""Answers as text, dom, XML and JSON.

`--dom`: a line `path="value"` per value; quotes inside are not escaped, as in PowerMTA,
but control characters become blanks. `--xml`: `<rsp><data>…</data><succ/></rsp>` on one
line. `--json`: `{"data":…,"status":…,"message":…}`. A failure is `<fail>` and the status
"error", of our own choosing.
"""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Final, Literal

from mta.admin import text
from mta.admin.answers import Answer, Changed, CommandDone, ListAnswer, VersionAnswer
from mta.admin.tree import Node, YesNo, tree

Format = Literal["text", "dom", "xml", "json"]
FORMATS: Final[tuple[Format, ...]] = ("text", "dom", "xml", "json")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")


def render(answer: Answer, form: Format, *, done: str = "") -> str:
    """The answer, ending in a line end; `done` is the sentence of a Changed."""
    if isinstance(answer, Changed):
        answer = CommandDone(done.format(count=answer.count, matching=answer.matching))
    if form == "text":
        return text.text(answer)
    return render_nodes(tree(answer), form, _message(answer))


def render_nodes(
    nodes: dict[str, Node],
    form: Literal["dom", "xml", "json"],
    message: str,
    *,
    failed: bool = False,
) -> str:
    """Named values, and what is said besides, for a program; ends in a line end."""
    match form:
        case "dom":
            lines = list(_dom("", nodes))
            return "".join(f"{line}\n" for line in lines or [f'message="{_scalar(message)}"'])
        case "xml":
            said = escape(_CONTROL.sub(" ", message), quote=False)
            end = "fail" if failed else "succ"
            success = f"<{end}>{said}</{end}>" if said else f"<{end}/>"
            data = f"<data>{''.join(_xml(nodes))}</data>" if nodes else ""
            return f"<rsp>{data}{success}</rsp>\n"
        case "json":
            status = "error" if failed else "success"
            return _print_json({"data": _json(nodes), "status": status, "message": message})


def render_failure(message: str, form: Format) -> str:
    """What a program that asked for XML or JSON reads when the command was refused."""
    match form:
        case "text" | "dom":
            return ""
        case "xml" | "json":
            return render_nodes({}, form, message, failed=True)


def _message(answer: Answer) -> str:
    match answer:
        case CommandDone():
            return answer.text
        case VersionAnswer():
            return text.text(answer).rstrip("\n")
        case ListAnswer():
            return " ".join(text.list_notes(answer))
        case _:
            return ""


def _dom(path: str, node: Node) -> Iterator[str]:
    match node:
        case None:
            return
        case dict():
            for name, child in node.items():
                yield from _dom(f"{path}.{name}" if path else name, child)
        case list():
            for index, child in enumerate(node):
                yield from _dom(f"{path}[{index}]", child)
        case _:
            yield f'{path}="{_scalar(node)}"'


def _xml(nodes: dict[str, Node]) -> Iterator[str]:
    for name, node in nodes.items():
        match node:
            case None:
                continue
            case list():
                for child in node:
                    yield from _xml({name: child})
            case dict():
                yield f"<{name}>{''.join(_xml(node))}</{name}>"
            case _:
                value = escape(_scalar(node), quote=False)
                yield f"<{name}>{value}</{name}>" if value else f"<{name}/>"


def _json(node: Node) -> object:
    match node:
        case dict():
            return {
                _plural(name) if isinstance(child, list) else name: _json(child)
                for name, child in node.items()
                if child is not None
            }
        case list():
            return [_json(child) for child in node]
        case YesNo():
            return node.value
        case _:
            return node


def _plural(name: str) -> str:
    return name if name in ("hidden", "needsRestart") else f"{name}s"


def _scalar(node: str | float | YesNo) -> str:
    match node:
        case YesNo():
            return "yes" if node.value else "no"
        case bool():
            return "1" if node else "0"
        case float():
            return f"{node:.1f}"
        case int():
            return str(node)
        case str():
            return _CONTROL.sub(" ", node)


def _print_json(document: dict[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
