"""Accounting files, of the guide and of the simple dialect. Guide: acct-file."""

import posixpath
from collections.abc import Callable
from difflib import get_close_matches

from mta.config.block import Block
from mta.config.configuration import AcctFileSettings
from mta.config.grammar import Statement
from mta.config.place import Diagnostics, Place
from mta.model import record_fields
from mta.settings.acct_file import AcctFileDirectives
from mta.settings.directive import directives
from mta.settings.kinds import first_word, items_of, unquote, words_of

KINDS = {
    "d": ("d", "delivery", "deliveries", "delivered"),
    "b": ("b", "bounce", "bounces", "bounced"),
    "t": ("t", "transient", "transients"),
    "tq": ("tq", "transient-queue", "transient queue", "transient-queues"),
    "r": ("r", "receipt", "receipts", "received"),
    "c": ("c", "connection", "connections"),
    "f": ("f", "feedback-loop", "fbl"),
    "rb": ("rb", "remote-bounce"),
    "rs": ("rs", "remote-status"),
}
"""Kinds of records by short name, with every name they go by."""
NOT_WRITTEN = ("f", "rb", "rs")
SIZE_MIN = 1 << 20


def kind_of(name: str) -> str:
    """The short name of a kind; ValueError if there is no such kind."""
    for short, names in KINDS.items():
        if name.lower() in names:
            return short
    close = get_close_matches(name.lower(), [n for names in KINDS.values() for n in names], 1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    raise ValueError(f'there is no kind of record "{name}"{hint}')


def dialect_statement(block: Block, diagnostics: Diagnostics) -> Callable[[Statement], bool]:
    """In a section without a path, `record-fields` is a list of the kinds to record."""

    def special(statement: Statement) -> bool:
        if statement.name != "record-fields":
            return False
        try:
            kinds = [kind_of(item) for item in items_of(unquote(statement.value))]
        except ValueError as error:
            diagnostics.error(statement.place, f"record-fields: {error}", line=statement.line)
            return True
        declared = directives(AcctFileDirectives)["records"]
        block.add(declared, ",".join(kinds), statement.place)
        return True

    return special


def settings(
    blocks: list[Block], path_of: Callable[[str], str], diagnostics: Diagnostics
) -> tuple[AcctFileSettings, ...]:
    """All accounting files; two of one path are an error."""
    found: dict[str, AcctFileSettings] = {}
    for block in blocks:
        one = _one(block, path_of, diagnostics)
        if one is None:
            continue
        if one.path in found:
            message = f"{one.path} is an accounting file already ({found[one.path].place})"
            diagnostics.error(block.place, message)
        found[one.path] = one
    return tuple(found.values())


def _one(
    block: Block, path_of: Callable[[str], str], diagnostics: Diagnostics
) -> AcctFileSettings | None:
    values = block.values
    if block.name:
        path = path_of(block.name)
    elif values.get("directory"):
        path = posixpath.join(values["directory"], "acct.csv")
    else:
        diagnostics.error(
            block.place, "<acct-file> needs a path", hint="or a line `directory DIRECTORY` in it"
        )
        return None
    if path.startswith("|"):
        diagnostics.note(block.place, "accounting to a program is not in force yet")
    elif path.lower().endswith(".json"):
        diagnostics.warning(
            block.place, f"accounting in JSON is not in force yet; what {path} gets is CSV"
        )
    if values.get("max_size", SIZE_MIN) < SIZE_MIN:
        diagnostics.note(block.place_of("max_size") or block.place, "max-size is 1M at least")
    return AcctFileSettings(
        path=path,
        place=block.place,
        records=_records(values, block, diagnostics),
        record_fields=_fields(block, diagnostics),
        map_header_to_field=_maps(block, diagnostics),
        move_to=values.get("move_to", ""),
        move_interval=values.get("move_interval", 86400),
        max_size=max(values.get("max_size", 250 << 20), SIZE_MIN),
        delete_after=values.get("delete_after", 8 * 86400),
        iso_times=values.get("iso_times", True),
        user_string=values.get("user_string", ""),
        world_readable=values.get("world_readable", False),
    )


def _records(values: dict[str, object], block: Block, diagnostics: Diagnostics) -> tuple[str, ...]:
    text = str(values.get("records", "") or "d,b")
    place = block.place_of("records") or block.place
    try:
        kinds = tuple(dict.fromkeys(map(kind_of, items_of(text))))
    except ValueError as error:
        diagnostics.error(place, f"records: {error}")
        return ()
    for kind in kinds:
        if kind in NOT_WRITTEN:
            diagnostics.note(place, f"{KINDS[kind][1]} records are not in force yet")
    return kinds


def _fields(block: Block, diagnostics: Diagnostics) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in block.entries.get("record_fields", ()):
        name, items = first_word(str(entry.value))
        name, chosen = unquote(name), tuple(items_of(unquote(items)))
        try:
            kind = kind_of(name)
            if not chosen:
                raise ValueError(f"which fields of {name}? For all: record-fields {name} *")
        except ValueError as error:
            diagnostics.error(entry.place, f"record-fields: {error}")
            continue
        for item in chosen:
            if item != "*":
                what = "removes nothing" if item[0] == "!" else "stays empty"
                _check_column(kind, item.removeprefix("!"), what, entry.place, diagnostics)
        found[kind] = chosen
    return tuple(found.items())


def _maps(block: Block, diagnostics: Diagnostics) -> tuple[tuple[str, str, str], ...]:
    found = []
    for entry in block.entries.get("map_header_to_field", ()):
        try:
            words = words_of(str(entry.value))
            if len(words) != 3:
                raise ValueError("expected KIND header_NAME FIELD")
            kind = kind_of(words[0])
        except ValueError as error:
            diagnostics.error(entry.place, f"map-header-to-field: {error}")
            continue
        _check_column(kind, words[2], "has no effect", entry.place, diagnostics)
        found.append((kind, words[1], words[2]))
    return tuple(found)


def _check_column(kind: str, name: str, what: str, place: Place, diagnostics: Diagnostics) -> None:
    """Say what becomes of a column that there is not: misspelt, it looks as if it had no data."""
    if kind not in record_fields.KINDS or name.lower().startswith("header_"):
        return  # Of kinds that are not written, that is said already.
    columns = {field.name.lower(): field.name for field in record_fields.KINDS[kind].fields}
    if name.lower() not in columns:
        close = diagnostics.nearest(name.lower(), columns, 0.7)
        diagnostics.warning(
            place,
            f'{KINDS[kind][1]} records have no column "{name}": it {what}',
            hint=f'did you mean "{columns[close]}"?' if close else "",
        )
