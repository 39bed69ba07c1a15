"""The bounce categories of a configuration that has no list of its own.

Words before codes, as servers choose words with more care; among words, what is particular
(a virus, a full mailbox) before what is general (policy). What is said of the sender comes before
what is said of the recipient, in much the same words: recipients are taken off lists for
`bad-mailbox`. So a recipient that was "rejected", which servers say of all kinds of mail, counts
as bad only where the code does not know better. Guide: bounce-category-patterns.
"""

from typing import Final

_OF_SENDER: Final = r"(?:(?!\b(?:recipient|user|mailbox|rcpt) ).){0,80}"
"""Words on the way that still speak of the sender."""
DEFAULT_PATTERNS: Final[tuple[tuple[str, str], ...]] = (
    (r"^2\.\d+\.\d+;", "success"),
    (r"\b(?:virus|malware|infected|trojan)\b", "virus-related"),
    (r"\b(?:spam|unsolicited|blacklist(?:ed)?|black ?list|block ?list(?:ed)?|blocklisted)\b", "spam-related"),
    (r"\b(?:spamhaus|barracuda|spamcop|dnsbl|rbl|sorbs|senderbase|proofpoint|cloudmark)\b", "spam-related"),
    (r"\b(?:(?:bulk|junk) (?:e-?)?mail\b|(?:poor|low) reputation\b|spammers?\b|spamassassin|anti-?spam)", "spam-related"),
    (r"^[45]\.1\.[78];", "invalid-sender"),
    (r"\b(?:domain of sender|mail from)\b" + _OF_SENDER + r"\b(?:not (?:exist|found|resolve)|does(?: not|n't) exist|no mx)\b", "invalid-sender"),
    (r"\b(?:(?:bad|invalid|no valid|not a valid|mx for|mx for the) (?:envelope )?sender)\b", "invalid-sender"),
    (r"\b(?:sender (?:address )?(?:verif\w+|could not be verified)|verify (?:the )?sender|verification failed for)\b", "invalid-sender"),
    (r"\b(?<!to )sender(?:'s)? (?:e-?mail )?(?:address|domain)\b" + _OF_SENDER + r"\b(?:rejected|refused|denied|invalid|unknown|no mx|must exist|not (?:exist|found|resolve))\b", "invalid-sender"),
    (r"\b(?<!to )sender(?: <[^ ]{0,80}>)? (?:is |was )?(?:rejected|refused|denied|invalid|unknown|not (?:exist|found|valid))\b", "invalid-sender"),
    (r"\b(?:helo|ehlo|client host|reverse dns|ptr)\b.{0,60}\b(?:rejected|refused|denied|invalid|unknown|not found|does(?: not|n't) exist)\b", "policy-related"),
    (r"\b(?:ip|client|source) address\b.{0,60}\b(?:rejected|refused|denied|blocked|not found|not allowed|unknown)\b", "policy-related"),
    (r"\btoo many (?:bad|invalid|unknown|nonexistent) (?:user|recipient|mailbox|address|account)", "policy-related"),
    (r"\b(?:mailbox|inbox|account|user|recipient|quota).{0,40}\b(?:full|exceed\w*|over ?quota)\b", "quota-issues"),
    (r"\b(?:over ?(?:mail )?quota|quota exceeded|exceed quota|(?:insufficient|out of|exceeded) (?:disk |system )?storage)\b", "quota-issues"),
    (r"\bdomain (?:is )?no longer in use\b", "bad-domain"),
    (r"\b(?:account|mailbox|user|address|recipient).{0,40}\b(?:disabled|inactive|suspended|deactivated|expired|locked)\b", "inactive-mailbox"),
    (r"\b(?:no longer (?:in use|active|valid|available)|not active|has been discontinued)\b", "inactive-mailbox"),
    (r"\b(?:unknown|no such|invalid|nonexistent|non-existent|undeliverable) (?:local )?(?:user|recipient|mailbox|address|account)\b", "bad-mailbox"),
    (r"\b(?:user|recipient|mailbox|(?<!ip )(?<!client )(?<!source )(?<!from )address|addressee|account|alias)\b.{0,60}\b(?:unknown|not found|does(?: not|n't) exist|not exist|unavailable|not known|not listed)\b", "bad-mailbox"),
    (r"\b(?:does(?: not|n't) have|no) (?:an? )?(?:account|mailbox) (?:here|by that name)\b|\bhave an? [^ ]{1,80} account\b", "bad-mailbox"),
    (r"\brelay(?:ing)?\b.{0,30}\b(?:denied|prohibited|not (?:permitted|allowed))\b|\bunable to relay\b|\bwe do not relay\b", "relaying-issues"),
    (r"\b(?:domain|host|destination)\b.{0,30}\b(?:not found|does(?: not|n't) exist|no such domain|unknown)\b", "bad-domain"),
    (r"\b(?:(?:mail|routing) loop|too many hops|no route to host|unroute?able)\b", "routing-errors"),
    (r"\b(?:message|mail|content|attachment|body|header)\b.{0,40}\b(?:too (?:large|big)|size (?:limit|exceed\w*))\b", "content-related"),
    (r"\b(?:content|attachment|subject|header|url|link)\b.{0,40}\b(?:rejected|refused|blocked|denied|not (?:allowed|accepted))\b", "content-related"),
    (r"\b(?:dmarc|dkim|spf)\b|\bauthentication (?:required|checks?|failed)\b|\bunauthenticated\b", "policy-related"),
    (r"\b(?:policy|policies|administrative(?:ly)?|prohibit\w*|banned|not authorized|access denied|blocked)\b", "policy-related"),
    (r"\b(?:too many|rate limit\w*|throttl\w*|greylist\w*|gr[ae]ylisted|try again later)\b", "policy-related"),
    (r"\b(?:syntax error|bad sequence|command (?:not|un)\w*|unrecognized)\b", "protocol-errors"),
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
    (r"\b(?:recipient|mailbox|(?<!sender )address)\b.{0,40}\brejected\b", "bad-mailbox"),
)  # fmt: skip
