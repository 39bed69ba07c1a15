"""Petrel with everything a message can go through but TLS and DKIM."""

from benchmarks.peers.petrel import Petrel

TOP = """
<pattern-list by-sender>
    mail-from /@elsewhere[.]example$/ virtual-mta=mta1
    header Subject /^urgent/ recipient-priority=60
</pattern-list>
<smtp-pattern-list replies>
    reply /try again later/ mode=backoff
    reply /mailbox (is )?full/ bounce-rcpt
</smtp-pattern-list>
<virtual-mta mta1>
    smtp-source-host 127.0.0.1 mta1.bench.example
    max-smtp-msg-rate 100000/s
</virtual-mta>
<virtual-mta mta2>
    smtp-source-host 127.0.0.1 mta2.bench.example
    add-header "X-Report: abuse@bench.example"
</virtual-mta>
<virtual-mta-pool all>
    virtual-mta mta1
    virtual-mta mta2
</virtual-mta-pool>
"""
SOURCE = """
    process-x-virtual-mta yes
    process-x-job yes
    add-date-header yes
    add-message-id-header yes
    pattern-list by-sender
    default-virtual-mta all
"""
RECORDS = "records r, d, b, t, tq, c\n    record-fields d *, header_Subject, totalSecondsQueued"
DOMAIN = """
    max-msg-rate 100000/s
    max-connect-rate 1000/s
    smtp-pattern-list replies
    backoff-to-normal-after-delivery yes
    remove-header X-Internal
"""

PETREL_FULL = Petrel("petrel-full", top=TOP, source=SOURCE, records=RECORDS, domain=DOMAIN)
