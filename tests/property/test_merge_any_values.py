"""Whatever values are, they stay in their place and are put in once; lines are the template's."""

from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.command import CommandError, MailParameters, RcptParameters
from mta.smtp.definitions import parse_definitions
from mta.smtp.header_block import head_size
from mta.smtp.mailmerge import MailMerge
from mta.smtp.server import Server
from mta.smtp.template import Part, merged

VALUE = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=30)
HEAD = b"To: <a>\r\nSubject: [x]\r\n[y]\r\n [x][y]\r\nX-Last: [y]\r\n\r\n"
BODY = b"[x]\r\n.[y]\r\n[[x][x]\r\n"


@given(x=VALUE, y=VALUE)
def test_lines_are_the_templates(x, y):
    values = {b"x": x.encode(), b"y": y.encode()}
    made = merged([Part(HEAD), Part(BODY)], values, expands=True)
    lines = made.split(b"\r\n")
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert lines[-4:] == [x.encode(), b"." + y.encode(), b"[x]" + x.encode(), b""]
    assert lines[:2] == [b"To: <a>", b"Subject: " + x.encode()]
    assert lines[-6:-4] == [b"X-Last: " + y.encode(), b""]
    assert head_size(made) == len(made) - sum(len(line) + 2 for line in lines[-4:-1])


@given(x=VALUE, y=VALUE)
def test_what_is_quoted_comes_out_as_it_went_in(x, y):
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in (x, y)]
    rest = f'x="{quoted[0]}" y="{quoted[1]}"'
    assert parse_definitions(rest, smtputf8=False) == {"x": x, "y": y}


@given(st.text(max_size=60))
def test_any_definition_is_taken_or_refused(rest):
    try:
        found = parse_definitions(rest, smtputf8=True)
    except CommandError as error:
        assert error.reply.code == 501
    else:
        assert all(name == name.lower() for name in found)


@given(st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=5))
def test_nobody_gets_what_is_somebody_elses(values):
    merge = MailMerge(
        MailParameters("a@b.example"), suffix="", size_max=1 << 20, verp_default=False
    )
    rcpts = []
    for number, (x, y) in enumerate(values):
        quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in (x, y)]
        merge.define(f'x="{quoted[0]}"')
        if number % 2:
            merge.define(f'y="{quoted[1]}"')
        merge.add(merge.spend())
        rcpts.append(RcptParameters(f"r{number}@d.example"))
    merge.begin_part("1 LAST")
    submission = merge.take(HEAD + BODY, rcpts)
    for number, (x, y) in enumerate(values):
        mine = {b"x": x.encode(), b"y": y.encode() if number % 2 else b""}
        made = submission.message(number, "", expands=True)
        assert made.content == merged([Part(HEAD + BODY)], mine, expands=True)
        assert made.rcpt is rcpts[number]


class Policy:
    """Accepts everything."""

    checks_sender = False

    def renewed(self):
        return None

    def mechanisms(self):
        return ()

    def mail(self, mail):
        return None

    def rcpt(self, mail, rcpt):
        return None


class Settings:
    """Mail merge is allowed."""

    max_message_size = 1 << 20
    max_rcpt_per_message = 100
    too_many_rcpts_fails_message = False
    allow_smtputf8 = True
    allow_chunking = True
    disconnect_on_transient_error = False
    accept_invalid_recipients = False
    auto_qualify_domain = False
    allow_mailmerge = True
    always_allow_api_submission = False
    verp_default = False


LINES = st.sampled_from(
    [b"XACK ON", b"XACK OFF", b"XMRG FROM:<a@b.example>", b"MAIL FROM:<a@b.example>", b"XDFN x=1",
     b"XDFN *to=1", b"RCPT TO:<c@d.example>", b"RCPT TO:<nobody>", b"XPRT 1", b"XPRT 2 LAST",
     b"DATA", b"BDAT 1 LAST", b"RSET", b"EHLO c.example"]
)  # fmt: skip


@given(st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=40))
def test_each_recipient_has_variables_whatever_comes_in_whatever_order(lines):
    server = Server(Policy(), Settings(), "mx.example")
    server.receive(b"EHLO c.example")
    is_silent = False
    for line in lines:
        reply, _ = server.receive(line)
        verb = line.partition(b" ")[0].upper()
        if verb in (b"RCPT", b"XDFN"):
            assert (reply is None) == is_silent
        if reply is not None and reply.code == 250 and verb in (b"EHLO", b"HELO", b"XACK"):
            is_silent = line.upper().endswith(b"OFF") and verb == b"XACK"
        if server.merge is not None and reply is not None and reply.code == 354:
            taken = server.merge.take(b"A: [x]\r\n", server.rcpts)
            server.content_ended(taken if hasattr(taken, "code") else reply)
