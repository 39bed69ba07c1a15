"""What is looked up about who sends: SPF, reverse DNS, DKIM. Guide: check-…-inbound.

SPF and reverse DNS are asked at MAIL; DKIM is verified when the message is there, in another
process. The results go into an Authentication-Results field of ours.
"""

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from mta.daemon.verifying import Verifier
from mta.errors import ResolveError
from mta.model.message import Content, FileContent
from mta.model.reply import Reply
from mta.net import spf
from mta.signing import verification
from mta.signing.verification import NO_KEY, Key
from mta.smtp import auth_results
from mta.smtp.auth_results import Finding
from mta.spool.damage import READ_OCTETS

if TYPE_CHECKING:
    from mta.net.reception import Session
    from mta.settings.source import SourceSettings

CHECK_S: Final = 20.0
"""RFC 7208 §4.6.4: at least that."""
NAMES_MAX: Final = 10
"""Names of one address that are looked at."""
VERIFIERS: Final = 2
"""Processes that verify DKIM signatures."""
DKIM_OCTETS_MAX: Final = 10 << 20
"""dkimpy holds the message several times; of what is larger no signature is verified."""


class Dns(Protocol):
    """The resolver. ResolveError if no server answers."""

    async def records(self, name: str, kind: str) -> tuple[str, ...]: ...


class SenderChecks:
    """The checks of one shard."""

    def __init__(self, dns: Dns, cores: int) -> None:
        self._dns = dns
        self._verifier = Verifier(min(cores, VERIFIERS))

    def close(self) -> None:
        self._verifier.close()

    async def sender(self, session: "Session", mail_from: str) -> Reply | None:
        """Look up what the source wants; a Reply refuses. Findings are left in the session."""
        source = session.source
        found: list[Finding] = []
        refusal: Reply | None = None
        if source.check_spf_inbound:
            finding = await self._spf(session, mail_from)
            found.append(finding)
            refusal = _spf_refusal(source, finding)
        if refusal is None and source.check_iprev_inbound:
            finding = await self._iprev(session)
            found.append(finding)
            refusal = _iprev_refusal(source, finding)
        session.findings = tuple(found)
        return refusal

    async def results(
        self, session: "Session", content: Content, head: bytes, host_name: str
    ) -> tuple[Content, bytes, str]:
        """The message without forged results, its header block, and the field of ours."""
        findings = list(session.findings)
        if session.source.check_dkim_inbound:
            wants_trace = session.source.trace_dkim_check
            findings += await self._signatures(content, head, wants_trace=wants_trace)
        clean = auth_results.without_forged(head, host_name)
        if len(clean) != len(head):
            content = await _with_head(content, head, clean)
        return content, clean, auth_results.field(host_name, findings)

    async def _spf(self, session: "Session", mail_from: str) -> Finding:
        source = session.source
        # RFC 7208 §2.4: the null sender is the postmaster of the client's name.
        sender = mail_from or f"postmaster@{session.helo}"
        trace: list[str] = []
        try:
            async with asyncio.timeout(CHECK_S):
                checked = await spf.check_host(
                    self._dns,
                    ip=session.peer_ip,
                    domain=sender.rpartition("@")[2],
                    sender=sender,
                    helo=session.helo,
                    void_lookups_max=source.check_spf_inbound_max_void_lookups,
                    trace=trace.append if source.trace_spf_check else None,
                )
        except TimeoutError:
            checked = spf.Checked("temperror", "it took too long")
        identity = ("smtp.mailfrom", mail_from) if mail_from else ("smtp.helo", session.helo)
        return Finding("spf", checked.result, checked.reason, (identity,), trace)

    async def _iprev(self, session: "Session") -> Finding:
        """RFC 8601 §2.7.3; and whether the name the client gives is one of its own."""
        trace: list[str] = []
        try:
            async with asyncio.timeout(CHECK_S):
                result, names = await self._names_of(session.peer_ip, trace)
        except TimeoutError:
            result, names = "temperror", []
        helo = session.helo.lower().removesuffix(".")
        comment = ", ".join(names) or "no name leads back to the address"
        if names and helo not in names:
            comment += f"; EHLO {helo}"
        shown = trace if session.source.trace_iprev_check else ()
        return Finding("iprev", result, comment, (("policy.iprev", session.peer_ip),), shown)

    async def _names_of(self, ip: str, trace: list[str]) -> tuple[str, list[str]]:
        address = ip_address(ip)
        kind = "A" if address.version == 4 else "AAAA"
        try:
            candidates = await self._dns.records(address.reverse_pointer, "PTR")
        except ResolveError as error:
            return "temperror" if not error.permanent else "permerror", []
        trace.append(f"PTR {ip}: {', '.join(candidates) or 'nothing'}")
        if not candidates:
            return "permerror", []
        names: list[str] = []
        failed = False
        for name in candidates[:NAMES_MAX]:
            try:
                hosts = await self._dns.records(name, kind)
            except ResolveError as error:
                failed = failed or not error.permanent
                continue
            trace.append(f"{kind} {name}: {', '.join(hosts) or 'nothing'}")
            if any(ip_address(host) == address for host in hosts):
                names.append(name.lower())
        if names:
            return "pass", names
        return "temperror" if failed else "fail", []

    async def _signatures(
        self, content: Content, head: bytes, *, wants_trace: bool
    ) -> list[Finding]:
        """What the DKIM signatures of a message are worth."""
        if not verification.is_signed(head):
            return [Finding("dkim", "none")]
        size = content.size if isinstance(content, FileContent) else len(content)
        if size > DKIM_OCTETS_MAX:
            return [Finding("dkim", "policy", "the message is too large to be verified")]
        names = verification.key_names(head)
        keys = dict(zip(names, await asyncio.gather(*map(self._key, names)), strict=True))
        return await self._verifier.findings(content, keys, wants_trace=wants_trace)

    async def _key(self, name: str) -> Key:
        try:
            async with asyncio.timeout(CHECK_S):
                found = await self._dns.records(name, "TXT")
        except TimeoutError:
            return Key("", "temperror")
        except ResolveError as error:
            return Key("", "permerror" if error.permanent else "temperror")
        return Key(found[0], "", len(found)) if found else NO_KEY


async def _with_head(content: Content, old: bytes, head: bytes) -> Content:
    """Content with another header block. It happens to forgeries only, and copies."""
    if isinstance(content, bytes):
        return head + content[len(old) :]
    change = await asyncio.to_thread(_rewrite, content.path, old, head)
    crc = None if content.crc is None else content.crc ^ change
    return FileContent(content.path, content.size - len(old) + len(head), crc)


def _rewrite(path: Path, old: bytes, head: bytes) -> int:
    """Put another header block before the rest of a file; what that changes in the CRC-32.

    Before any other rest of that length it would change the same, so damage in what is read
    here is not vouched for.
    """
    was, becomes = crc32(old), crc32(head)
    new = path.with_name(f"{path.name}.new")
    with path.open("rb") as before, new.open("wb") as after:
        after.write(head)
        before.seek(len(old))
        while octets := before.read(READ_OCTETS):
            after.write(octets)
            was, becomes = crc32(octets, was), crc32(octets, becomes)
    new.replace(path)
    return was ^ becomes


def _spf_refusal(source: "SourceSettings", finding: Finding) -> Reply | None:
    text = f"SPF {finding.result}: {finding.comment}"
    match finding.result:
        case "fail" if source.reject_spf_check_fail:
            return Reply(550, (f"5.7.23 {text} (reject-spf-check-fail)",))
        case "permerror" if source.reject_spf_check_permerror:
            return Reply(550, (f"5.7.24 {text} (reject-spf-check-permerror)",))
        case "temperror" if source.reject_spf_check_temperror:
            return Reply(451, (f"4.7.24 {text} (reject-spf-check-temperror)",))
    return None


def _iprev_refusal(source: "SourceSettings", finding: Finding) -> Reply | None:
    text = f"reverse DNS {finding.result} of {finding.properties[0][1]}"
    match finding.result:
        case "fail" if source.reject_iprev_check_fail:
            return Reply(550, (f"5.7.25 {text} (reject-iprev-check-fail)",))
        case "permerror" if source.reject_iprev_check_permerror:
            return Reply(550, (f"5.7.25 {text} (reject-iprev-check-permerror)",))
        case "temperror" if source.reject_iprev_check_temperror:
            return Reply(451, (f"4.7.25 {text} (reject-iprev-check-temperror)",))
    return None
