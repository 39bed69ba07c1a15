"""Whatever stands in a header block: no exception, no hang, and no field that nobody wrote.

The whole way of a block: found at reception, its fields read, its VirtualMTA chosen, rendered for
delivery, taken apart for the signature.
"""

import os
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.daemon.submission_rules import SubmissionRules
from mta.model.message import Envelope
from mta.routing import select
from mta.signing.canonical import fields
from mta.smtp import header_block
from mta.smtp.head import HeadRules
from tests.texts import configured

EXAMPLES = int(os.environ.get("PETREL_FUZZ_EXAMPLES", "100"))
fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

CONFIGURATION = configured("""<virtual-mta a>
</virtual-mta>
<source any>
pattern-list l
rewrite-list w
process-x-virtual-mta yes
reject-invalid-virtual-mta no
process-x-job yes
process-x-envid yes
process-x-dkim-options yes
jobid-header X-Kind
jobid-prefix {auth}-
add-date-header yes
add-message-id-header yes
add-x-virtual-mta-header yes
remove-header X-A,X-B
remove-received-headers yes
</source>
<pattern-list l>
header X-Kind /^ (a|b)*$/ virtual-mta=a
header From /@/ recipient-priority=1
</pattern-list>
<rewrite-list w>
mail-from *@* x@*
from-domain d.example new.example
</rewrite-list>
""")
RULES = SubmissionRules.of(
    CONFIGURATION.source("192.0.2.1", "any"), CONFIGURATION, frozenset({b"subject"})
)
QUEUE = HeadRules(
    host_name="h.example",
    added=["X-Top: 1"],
    add_received=True,
    hide_received=True,
    included=b"X-File: 1\r\n",
    removed=["X-C"],
    vmta="a",
    rewrites=RULES.rewrites,
)
PIECES = st.sampled_from(
    [b"From", b"X-Kind", b"X-Virtual-MTA", b"X-Job", b"X-Envid", b"X-DKIM-Options", b"X-DKIM-Key",
     b"Date", b"Message-ID", b"Received", b"X-A", b"x-c", b"Subject", b":", b": ", b"\r\n",
     b"\r\n\r\n", b"\r\n ", b"\r\n\t", b"a", b"b" * 30, b"@d.example", b"<a@d.example>", b'"',
     b"(", b")", b"\\", b"\0", b"\r", b"\n", b"\xff", b"\xc3\xa9", b"x" * 3000, b" " * 300]
)  # fmt: skip
CONTENTS = st.lists(PIECES | st.binary(max_size=6), max_size=60).map(
    lambda pieces: b"".join(pieces) + b"\r\n"
)  # As the framer leaves it: it ends in CRLF.
OURS = {b"received", b"x-file", b"date", b"message-id", b"x-virtual-mta", b"x-top"}


@fuzzed
@given(CONTENTS, st.text(max_size=30))
def test_any_block_goes_all_the_way(content, user):
    head = content[: header_block.head_size(content)]
    found = header_block.find(head, RULES.wanted)
    assert all(value.isprintable() for value in found.values())
    match = RULES.match("", ["r@d.example"], head)
    wish = select.wish(CONFIGURATION, RULES.source, RULES.x_virtual_mta(found), match)
    assert len(wish.name or "") <= select.NAME_SHOWN_MAX
    envelope = Envelope(
        message_id=64,
        mail_from="a@d.example",
        time_queued=0.0,
        size=len(content),
        head_size=len(head),
        remove_fields=RULES.remove_fields(found, head),
        added_fields=RULES.added_fields(found, 64, 0.0, "h.example"),
        shows_vmta=RULES.shows_vmta(found),
        from_domains=RULES.from_domains(head),
        job_id=RULES.job_id(found, user),
        env_id=RULES.env_id(found),
    )
    rendered = QUEUE.render(envelope, "", "a date", head)
    assert rendered.skip in (0, len(head))
    sent = rendered.octets + head[rendered.skip :]
    came = set(re.findall(rb"(?m)^([!-9;-~]+)[ \t]*:", head.lower()))
    left = set(re.findall(rb"(?m)^([!-9;-~]+)[ \t]*:", sent.lower()))
    assert left <= came | OURS
    assert not left & {b"x-a", b"x-b", b"x-c", b"x-dkim-key"}
    fields(sent)
