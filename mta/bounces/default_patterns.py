"""The bounce categories of a configuration that has no list of its own.

Words before codes, as servers choose words with more care; among words, what is particular
(a virus, a full mailbox) before what is general (policy). Guide: bounce-category-patterns.
"""

from typing import Final

DEFAULT_PATTERNS: Final[tuple[tuple[str, str], ...]] = (
    (r"^2\.\d+\.\d+;", "success"),
    (r"\b(?:virus|malware|infected|trojan)\b", "virus-related"),
    (r"\b(?:spam|unsolicited|blacklist(?:ed)?|black ?list|block ?list(?:ed)?|blocklisted)\b", "spam-related"),
    (r"\b(?:spamhaus|barracuda|spamcop|dnsbl|rbl|sorbs|senderbase|proofpoint|cloudmark)\b", "spam-related"),
    (r"\bbulk (?:e-?)?mail\b|\bpoor reputation\b|\blow reputation\b", "spam-related"),
    (r"\b(?:mailbox|inbox|account|user|recipient|quota).{0,40}\b(?:full|exceed\w*|over ?quota)\b", "quota-issues"),
    (r"\bover ?quota\b|\bquota exceeded\b|\binsufficient (?:disk|system)? ?storage\b|\bout of storage\b", "quota-issues"),
    (r"\b(?:account|mailbox|user|address|recipient).{0,40}\b(?:disabled|inactive|suspended|deactivated|expired|locked)\b", "inactive-mailbox"),
    (r"\b(?:no longer (?:in use|active|valid|available)|not active|has been discontinued)\b", "inactive-mailbox"),
    (r"\b(?:unknown|no such|invalid|nonexistent|non-existent|undeliverable) (?:local )?(?:user|recipient|mailbox|address|account)\b", "bad-mailbox"),
    (r"\b(?:user|recipient|mailbox|address|account|alias)\b.{0,60}\b(?:unknown|not found|does(?: not|n't) exist|not exist|unavailable|not known|not listed|rejected)\b", "bad-mailbox"),
    (r"\b(?:does(?: not|n't) have|no) (?:an? )?(?:account|mailbox) (?:here|by that name)\b", "bad-mailbox"),
    (r"\brelay(?:ing)?\b.{0,30}\b(?:denied|prohibited|not (?:permitted|allowed))\b|\bunable to relay\b|\bwe do not relay\b", "relaying-issues"),
    (r"\bsender\b.{0,40}\b(?:rejected|refused|denied|invalid|unknown|not (?:exist|found))\b", "invalid-sender"),
    (r"\b(?:domain of sender|sender domain|mail from)\b.{0,40}\b(?:not (?:exist|found|resolve)|does(?: not|n't) exist|no mx)\b", "invalid-sender"),
    (r"\b(?:domain|host|destination)\b.{0,30}\b(?:not found|does(?: not|n't) exist|no such domain|unknown)\b", "bad-domain"),
    (r"\b(?:message|mail|content|attachment|body|header)\b.{0,40}\b(?:too (?:large|big)|size (?:limit|exceed\w*))\b", "content-related"),
    (r"\b(?:content|attachment|subject|header|url|link)\b.{0,40}\b(?:rejected|refused|blocked|denied|not (?:allowed|accepted))\b", "content-related"),
    (r"\b(?:dmarc|dkim|spf)\b|\bauthentication (?:required|checks?|failed)\b|\bunauthenticated\b", "policy-related"),
    (r"\b(?:policy|policies|administrative(?:ly)?|prohibit\w*|banned|not authorized|access denied|blocked)\b", "policy-related"),
    (r"\b(?:too many|rate limit\w*|throttl\w*|greylist\w*|gr[ae]ylisted|try again later)\b", "policy-related"),
    (r"\b(?:mail|routing) loop\b|\btoo many hops\b|\bno route to host\b", "routing-errors"),
    (r"\b(?:syntax error|bad sequence|command (?:not|un)\w*|unrecognized)\b", "protocol-errors"),
    (r"^[45]\.1\.[78];", "invalid-sender"),
    (r"^[45]\.1\.2;", "bad-domain"),
    (r"^[45]\.1\.10;", "bad-domain"),
    (r"^[45]\.1\.\d+;", "bad-mailbox"),
    (r"^[45]\.2\.1;", "inactive-mailbox"),
    (r"^[45]\.2\.2;", "quota-issues"),
    (r"^[45]\.2\.3;", "content-related"),
    (r"^[45]\.2\.\d+;", "bad-mailbox"),
    (r"^[45]\.3\.[34];", "content-related"),
    (r"^[45]\.3\.\d+;", "bad-configuration"),
    (r"^[45]\.4\.1;", "no-answer-from-host"),
    (r"^[45]\.4\.2;", "bad-connection"),
    (r"^[45]\.4\.7;", "message-expired"),
    (r"^[45]\.4\.\d+;", "routing-errors"),
    (r"^[45]\.5\.3;", "policy-related"),
    (r"^[45]\.5\.\d+;", "protocol-errors"),
    (r"^[45]\.6\.\d+;", "content-related"),
    (r"^[45]\.7\.\d+;", "policy-related"),
)  # fmt: skip
