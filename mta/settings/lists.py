"""The directives of lists of patterns, addresses and keys."""

from dataclasses import dataclass
from typing import ClassVar

from mta.model.domain_key import DomainKey
from mta.model.rollup_rule import RollupRule
from mta.settings.directive import directive, repeated
from mta.settings.dkim_kinds import DOMAIN_KEY
from mta.settings.kinds import (
    BOOLEAN,
    FILE,
    RAW,
    ROLLUP_RULE,
    RULE,
    TEXT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternListDirectives:
    """What `<pattern-list>` may say."""

    scope: ClassVar[str] = "pattern-list"

    mail_from: tuple[str, ...] = repeated(
        RULE,
        "pattern-list: match the envelope sender.",
    )
    rcpt_to: tuple[str, ...] = repeated(
        RULE,
        "Match the envelope recipient. With several recipients the first match decides for "
        "the whole message.",
    )
    header: tuple[str, ...] = repeated(
        RULE,
        "Match the raw header content including surrounding white space.",
    )
    otherwise: tuple[str, ...] = repeated(
        TEXT,
        "Catch-all line inside (nested) pattern lists.",
        name="*",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpPatternListDirectives:
    """What `<smtp-pattern-list>` may say."""

    scope: ClassVar[str] = "smtp-pattern-list"

    include: tuple[str, ...] = repeated(
        RAW,
        "Reads another configuration file at that point, in the scope where it appears. "
        "Wildcards allowed. URLs must be absolute, without user info, query or fragment.",
    )
    reply: tuple[str, ...] = repeated(
        RULE,
        "Match a remote SMTP reply, case-insensitively unless (?-i).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceCategoryDirectives:
    """What `<bounce-category-patterns>` may say."""

    scope: ClassVar[str] = "bounce-category-patterns"

    entry: tuple[str, ...] = repeated(
        RULE,
        "First matching regex gives the bounce category.",
        name="/regex/",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteListDirectives:
    """What `<rewrite-list>` may say."""

    scope: ClassVar[str] = "rewrite-list"

    mail_from: tuple[str, ...] = repeated(
        TEXT,
        "Rewrite the envelope sender: user@domain, user@*, *@domain, *@* or <>, and what it "
        "becomes; * keeps what was there.",
    )
    from_domain: tuple[str, ...] = repeated(
        TEXT,
        "Rewrite the domain of the From header address.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MxRollupDirectives:
    """What `<mx-rollup-list>` may say."""

    scope: ClassVar[str] = "mx-rollup-list"

    mx: tuple[RollupRule, ...] = repeated(
        ROLLUP_RULE,
        "Map lowest-preference MX names to a rollup queue whose name ends in .rollup.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressListDirectives:
    """What `<address-list>` may say."""

    scope: ClassVar[str] = "address-list"

    address: tuple[str, ...] = repeated(
        RULE,
        "Member of the list.",
    )
    address_file: tuple[str, ...] = repeated(
        FILE,
        "One address or local part per line.",
    )
    domain: tuple[str, ...] = repeated(
        TEXT,
        "Whole domain.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailPatternsDirectives:
    """What `<email-patterns>` may say."""

    scope: ClassVar[str] = "email-patterns"

    body_pattern_file: tuple[str, ...] = repeated(
        FILE,
        "File with one PCRE using named groups (FBL: reportedDomainTo, reportedDomainFrom, "
        "dlvSourceIp, rcpt, orig; DSN: r, or, orig, diag, action, repMta, remMta).",
        not_yet=True,
    )
    log_match_info: bool = directive(
        BOOLEAN,
        False,
        "Log which pattern file matched.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainKeyListDirectives:
    """What `<domain-key-list>` may say."""

    scope: ClassVar[str] = "domain-key-list"

    domain_key: tuple[DomainKey, ...] = repeated(
        DOMAIN_KEY,
        "DKIM private key. Keys are tried in order; the first whose domain equals or is a "
        "parent of the signing identity domain is used; * matches anything and should be "
        "last.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsFilterDirectives:
    """What `<signals-filter>` may say."""

    scope: ClassVar[str] = "signals-filter"

    sender_or_from: tuple[str, ...] = repeated(
        TEXT,
        "Rule for one sending domain pattern.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasesDirectives:
    """What `<aliases>` may say."""

    scope: ClassVar[str] = "aliases"

    alias: tuple[str, ...] = repeated(
        TEXT,
        "Forwarding. Source is a full address, *@domain, or a bare local part (which then "
        "matches only local host names). No regex.",
    )
