"""Letters of the daemon itself: their text, and how many of them there are."""

import asyncio
import email
from email.policy import SMTP
from types import SimpleNamespace

from mta.daemon import notices
from mta.daemon.local_mail import Letter, LocalMail, composed
from mta.daemon.notices import LINES_MAX, Notices
from mta.model.reply import Reply

NOW = 1_000_000.0


class FakeIntake:
    """What reached it."""

    configuration = SimpleNamespace(root=SimpleNamespace(host_name="mta.example"))

    def __init__(self):
        self.taken = []

    async def submit(self, envelope, content, rcpts, *, vmta):
        self.taken.append((envelope, content, rcpts, vmta))


def parsed(subject="s", text="t"):
    content = composed(("a@x.example",), subject, text, number=5, host_name="h", now=NOW)
    return content, email.message_from_bytes(content, policy=SMTP)


async def test_a_letter_has_the_null_sender_and_asks_for_no_report():
    intake = FakeIntake()
    mail = LocalMail(intake, SimpleNamespace(next_message_id=lambda: 7))
    content = b"Subject: x\r\n\r\n.dot\r\n"
    assert await mail.submit(Letter(recipients=("a@x.example",), content=content, vmta="v")) is None
    ((envelope, taken, (rcpt,), vmta),) = intake.taken
    assert (envelope.mail_from, rcpt.notify, vmta, taken) == ("", "NEVER", "v", content)
    assert (envelope.head_size, envelope.has_leading_dot) == (14, True)


def test_a_subject_cannot_add_a_header_field():
    _, message = parsed(subject="queue\r\nBcc: b@y.example")
    assert message["Bcc"] is None
    assert message["Auto-Submitted"] == "auto-generated"


def test_lines_end_with_crlf_and_long_ones_are_wrapped():
    to = tuple(f"{'a' * 60}{number}@x.example" for number in range(40))
    content = composed(to, "é" * 400, "x\rz\n" + "w " * 2000, number=5, host_name="h", now=NOW)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) < 998
    message = email.message_from_bytes(content, policy=SMTP)
    assert message["Subject"] == "é" * 400
    assert [one.addr_spec for one in message["To"].addresses] == [*to]


async def test_changes_of_a_minute_make_one_letter(monkeypatch):
    monkeypatch.setattr(notices, "INTERVAL_S", 0.01)
    letters, logged = [], []
    second = asyncio.Event()

    async def write(addresses, subject, text):
        letters.append((addresses, subject, text))
        if len(letters) == 2:
            second.set()
        return Reply(452, ("4.3.1 full",))

    async with asyncio.TaskGroup() as tasks:
        some = Notices(write, tasks, log=logged.append)
        some.tell(("a@x.example",), "q1/v: entered backoff mode")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(LINES_MAX + 5):
            some.tell(("a@x.example",), f"q{number}/v: back to normal mode")
        async with asyncio.timeout(10):
            await second.wait()
    assert letters[0] == (
        ("a@x.example",),
        "q1/v entered backoff mode",
        "q1/v: entered backoff mode",
    )
    assert letters[1][1] == "205 changes, the first: q0/v back to normal mode"
    assert letters[1][2].count("\n\n") == LINES_MAX
    assert letters[1][2].endswith("(and 5 more, see the log)")
    assert "452 4.3.1 full" in logged[0]


async def test_what_is_gathered_is_sent_before_the_end():
    letters = []

    async def write(addresses, subject, text):
        letters.append(subject)

    async with asyncio.TaskGroup() as tasks:
        some = Notices(write, tasks, log=print)
        some.tell(("a@x.example",), "q/v: one")
        await some.close()
    assert letters == ["q/v one"]
