"""The sections `<rewrite-list>`. Guide: rewrite-list."""

from collections.abc import Callable

from mta import address
from mta.config.grammar import Statement
from mta.config.macros import Macros
from mta.config.pattern_lists import PatternLists
from mta.config.patterns import DomainPattern, parse_pattern
from mta.config.place import Diagnostics, Place
from mta.settings.kinds import unquote
from mta.smtp.rewriting import ANY, RewriteList, SenderRule

NULL = "<>"
_ADDRESS = "expected user@domain, user@*, *@domain{} or <>"


class RewriteLists:
    """Takes the lines of all lists."""

    def __init__(self, diagnostics: Diagnostics, macros: Macros, remarks: PatternLists) -> None:
        self._diagnostics = diagnostics
        self._macros = macros
        self._remarks = remarks
        self._senders: dict[str, list[tuple[SenderRule, Place]]] = {}
        self._domains: dict[str, list[tuple[DomainPattern, str]]] = {}

    def rules(self, name: str) -> Callable[[Statement], bool]:
        """What takes the lines of the list of that name."""
        senders = self._senders.setdefault(name.lower(), [])
        domains = self._domains.setdefault(name.lower(), [])

        def take(statement: Statement) -> bool:
            try:
                match statement.name:
                    case "mail-from":
                        rule = _sender_rule(statement.value)
                        self._remark(rule, senders, statement)
                        senders.append((rule, statement.place))
                    case "from-domain":
                        domains.extend(self._domain_rules(statement))
                    case _:
                        return False
            except ValueError as error:
                self._remarks.error(statement, error)
            return True

        return take

    def finish(self) -> dict[str, RewriteList]:
        """The lists by name in lower case."""
        return {
            name: RewriteList(tuple(rule for rule, _ in senders), tuple(self._domains[name]))
            for name, senders in self._senders.items()
        }

    def _remark(
        self, rule: SenderRule, before: list[tuple[SenderRule, Place]], statement: Statement
    ) -> None:
        for earlier, place in before:
            if earlier.covers(rule.local, rule.domain):
                self._diagnostics.warning(
                    statement.value_place,
                    f"never used: line {place.line} is for all these senders",
                    hint="the first rule that matches decides; put that one last",
                    line=statement.line,
                )
                return

    def _domain_rules(self, statement: Statement) -> list[tuple[DomainPattern, str]]:
        text, domain = _two(statement.value, "expected a domain pattern and a domain")
        if not domain.isascii() or not address.is_valid_domain(domain) or domain.startswith("["):
            raise ValueError(f"{domain} is no domain")
        patterns = self._macros.expand(text, statement.place, statement.line)
        return [(DomainPattern(parse_pattern(one)), domain.removesuffix(".")) for one in patterns]


def _sender_rule(text: str) -> SenderRule:
    source, target = _two(text, "expected SOURCE TARGET, such as *@a.example *@bounces.a.example")
    local, domain = _parts(source, _ADDRESS.format(", *@*"))
    to_local, to_domain = _parts(target, _ADDRESS.format(""))
    if to_local == ANY == to_domain:
        raise ValueError("a target of *@* changes nothing")
    if not domain and ANY in (to_local, to_domain):
        raise ValueError("the null sender <> has nothing that a * of the target could keep")
    return SenderRule(local, domain, to_local, to_domain)


def _two(text: str, expected: str) -> tuple[str, str]:
    words = [unquote(word) for word in text.split()]
    if len(words) != 2:
        raise ValueError(expected)
    return words[0], words[1]


def _parts(text: str, expected: str) -> tuple[str, str]:
    if text == NULL:
        return "", ""
    local, _, domain = text.rpartition("@")
    probe = f"{'any' if local == ANY else local}@{'any' if domain == ANY else domain}"
    if not text.isascii() or not address.is_valid(probe):
        raise ValueError(expected)
    return local, domain
