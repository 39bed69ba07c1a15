"""Listeners, as directives and as sections. Guide: smtp-listener."""

import re
from dataclasses import replace

from mta.config.block import Block
from mta.config.configuration import ListenerSettings
from mta.config.grammar import Statement
from mta.config.names import Names
from mta.config.place import Diagnostics, Place
from mta.settings.directive import directives
from mta.settings.kinds import parse_cidr, unquote, words_of
from mta.settings.listener import ListenerDirectives
from mta.settings.root import RootSettings

_LISTENER = re.compile(r"(?P<address>\[[^\]]+\](?:/\d+)?|[^:\s]+)(?::(?P<port>\d+))?")
DEFAULT_PORT = 25


def from_directive(statement: Statement, names: Names, diagnostics: Diagnostics) -> Block | None:
    """`smtp-listener ADDRESS[:PORT] [source=NAME]` as a section would be."""
    words = words_of(statement.value)
    if not words:
        diagnostics.error(
            statement.place,
            "smtp-listener: argument missing",
            hint="expected ADDRESS:PORT such as 0.0.0.0:25",
            line=statement.line,
        )
        return None
    block = Block("smtp-listener", words[0], statement.place)
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name.lower() != "source" or not value:
            diagnostics.error(
                statement.place,
                f"smtp-listener: {word!r} is not known here",
                hint="expected source=NAME; other settings go in a section <smtp-listener …>",
                line=statement.line,
            )
            continue
        source = unquote(value)
        block.add(directives(ListenerDirectives)["source"], source, statement.place)
        names.use("source", source, statement)
    return block


def settings(
    blocks: list[Block], root: RootSettings, root_block: Block, diagnostics: Diagnostics
) -> tuple[ListenerSettings, ...]:
    """All listeners; without any, port 25 of every address."""
    if not blocks:
        ip = root_block.values.get("smtp_ip") or ("0.0.0.0",)  # noqa: S104 - the documented default
        port = root_block.values.get("smtp_port", DEFAULT_PORT) or DEFAULT_PORT
        address = ip[0] if isinstance(ip, tuple) else ip
        diagnostics.note(root_block.place, f"no smtp-listener is given; it is {address}:{port}")
        given = root_block.place_of("smtp_port") or root_block.place_of("smtp_ip")
        blocks = [Block("smtp-listener", f"{address}:{port}", given or root_block.place)]
    found: dict[tuple[str, int], ListenerSettings] = {}
    for block in blocks:
        one = _one(block, root, diagnostics)
        if one is None:
            continue
        before = found.get((one.address, one.port))
        if before is not None and replace(before, place=one.place) != one:
            message = f"smtp-listener {block.name} is that of {before.place}, too; this one counts"
            diagnostics.warning(one.place, message, hint="keep one of them")
        found[one.address, one.port] = one
    return tuple(found.values())


def _one(block: Block, root: RootSettings, diagnostics: Diagnostics) -> ListenerSettings | None:
    match = _LISTENER.fullmatch(block.name)
    try:
        if match is None:
            raise ValueError("expected ADDRESS:PORT such as 0.0.0.0:25")
        address = parse_cidr(match["address"].replace("[", "").replace("]", ""))
        port = int(match["port"] or DEFAULT_PORT)
        if not 0 < port < 65536:
            raise ValueError("expected a port from 1 to 65535")
    except ValueError as error:
        diagnostics.error(block.place, f"smtp-listener {block.name}: {error}")
        return None
    if address.endswith("/0"):
        address = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - as configured
    values = block.values
    certificate, password = values.get("tls_certificate", root.smtp_server_tls_certificate)
    wanted = {
        "TLSv1": values.get("tls_allow_tlsv1", root.smtp_server_tls_allow_tlsv1),
        "TLSv1.1": values.get("tls_allow_tlsv1_1", root.smtp_server_tls_allow_tlsv1_1),
        "TLSv1.2": values.get("tls_allow_tlsv1_2", root.smtp_server_tls_allow_tlsv1_2),
        "TLSv1.3": values.get("tls_allow_tlsv1_3", root.smtp_server_tls_allow_tlsv1_3),
    }
    return ListenerSettings(
        address=address,
        port=port,
        place=Place(*block.place),
        source=values.get("source", ""),
        tls_certificate=certificate,
        tls_password=password,
        tls_versions=tuple(version for version, allowed in wanted.items() if allowed),
        tls_ciphers=values.get("tls_ciphers", "") or root.smtp_server_tls_ciphers,
        tls_ca_file=values.get("tls_ca_file", "") or root.smtp_server_tls_ca_file,
        immediate_tls=_immediate_tls(block, certificate, diagnostics),
        await_slot=values.get("await_slot", root.smtp_await_slot),
    )


def _immediate_tls(block: Block, certificate: str, diagnostics: Diagnostics) -> bool:
    wanted = bool(block.values.get("immediate_tls", False))
    if wanted and not certificate:
        diagnostics.error(
            block.place_of("immediate_tls") or block.place,
            "immediate-tls needs a certificate",
            hint="give the listener a tls-certificate",
        )
    return wanted
