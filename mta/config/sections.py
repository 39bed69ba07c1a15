"""Which section may stand where, and what its directives are."""

from functools import cache
from typing import Final, NamedTuple

from mta.settings import acct_file, listener, lists, services
from mta.settings.directive import Directive, Scope, directives
from mta.settings.domain import DomainSettings
from mta.settings.root import RootSettings
from mta.settings.source import SourceSettings
from mta.settings.virtual_mta import PoolDirectives, VmtaDirectives


class SectionRule(NamedTuple):
    """A section: its directives, where it may stand, whether it is named.

    `note` says what it does not do yet; empty if it is in force.
    """

    tag: str
    scope: type[Scope]
    parents: tuple[str, ...] = ("global",)
    argument: str = ""
    """What its argument is; empty if it has none."""
    is_argument_optional: bool = False
    note: str = ""


NOT_YET: Final = "not in force yet"

SECTIONS: Final[dict[str, SectionRule]] = {
    rule.tag: rule
    for rule in (
        SectionRule("global", RootSettings),
        SectionRule(
            "domain",
            DomainSettings,
            ("global", "virtual-mta", "virtual-mta-pool"),
            "a domain pattern such as gmail.com or *",
        ),
        SectionRule("source", SourceSettings, argument="a network such as 192.0.2/24, or a name"),
        SectionRule("virtual-mta", VmtaDirectives, argument="a name"),
        SectionRule("virtual-mta-pool", PoolDirectives, argument="a name"),
        SectionRule("smtp-listener", listener.ListenerDirectives, argument="ADDRESS:PORT"),
        SectionRule(
            "acct-file", acct_file.AcctFileDirectives, argument="a path", is_argument_optional=True
        ),
        SectionRule("spool", acct_file.SpoolDirectives, argument="a directory"),
        SectionRule("log-rotate", acct_file.LogRotateDirectives),
        SectionRule("smtp-pattern-list", lists.SmtpPatternListDirectives, argument="a name"),
        SectionRule("bounce-category-patterns", lists.BounceCategoryDirectives),
        SectionRule(
            "pattern-list",
            lists.PatternListDirectives,
            ("global", "pattern-list"),
            "a name",
        ),
        SectionRule(
            "address-list",
            lists.AddressListDirectives,
            ("global", "bounce-processor", "feedback-loop-processor"),
            "a name",
            is_argument_optional=True,
        ),
        SectionRule(
            "email-patterns",
            lists.EmailPatternsDirectives,
            ("bounce-processor", "feedback-loop-processor"),
            note=NOT_YET,
        ),
        SectionRule("rewrite-list", lists.RewriteListDirectives, argument="a name"),
        SectionRule("mx-rollup-list", lists.MxRollupDirectives),
        SectionRule("domain-key-list", lists.DomainKeyListDirectives, argument="a name"),
        SectionRule("aliases", lists.AliasesDirectives),
        SectionRule(
            "signals-filter", lists.SignalsFilterDirectives, argument="a name", note=NOT_YET
        ),
        SectionRule("smtp-user", services.SmtpUserDirectives, argument="a name"),
        SectionRule("source-group", services.SourceGroupDirectives, argument="a name"),
        SectionRule("bounce-processor", services.BounceProcessorDirectives, note=NOT_YET),
        SectionRule(
            "feedback-loop-processor", services.FeedbackLoopProcessorDirectives, note=NOT_YET
        ),
        SectionRule("dns", services.DnsDirectives, note=NOT_YET),
        SectionRule("proxy", services.ProxyDirectives, argument="a name", note=NOT_YET),
        SectionRule("vault", services.VaultDirectives, note=NOT_YET),
        SectionRule("signals", services.SignalsDirectives, note=NOT_YET),
        SectionRule("transmissions-api", services.TransmissionsApiDirectives, note=NOT_YET),
        SectionRule(
            "transmissions-api-listener",
            services.TransmissionsApiListenerDirectives,
            argument="ADDRESS:PORT",
            note=NOT_YET,
        ),
    )
}
"""By tag."""

ALIASES: Final = {
    "define-virtual-mta": "virtual-mta",
    "sparkpost-analytics": "signals",
    "transmission-api-listener": "transmissions-api-listener",
}
"""Other spellings of tags: of the simple dialect, old ones, and a misprint of the guide."""

MISPRINTS: Final = {"http-default-sort-roder": "http-default-sort-order"}
"""Directives as the guide misspells them."""


def place_name(tag: str) -> str:
    """A section as people call the place."""
    return "the top level" if tag == "global" else f"<{tag}>"


def scopes_of(name: str) -> list[str]:
    """Where a directive of that name may stand, as people call those places."""
    return places_by_name().get(name, [])


@cache
def places_by_name() -> dict[str, list[str]]:
    """Every directive there is, with where it may stand."""
    found: dict[str, list[str]] = {}
    for rule in SECTIONS.values():
        for name in directives(rule.scope):
            found.setdefault(name, []).append(place_name(rule.tag))
    return found


def all_directives() -> list[Directive]:
    """Every directive of every scope."""
    scopes = dict.fromkeys(rule.scope for rule in SECTIONS.values())
    return [one for scope in scopes for one in directives(scope).values()]
