from mta.model.reply import Reply
from mta.smtp.client import Client, Next
from tests.conformance.test_rfc5321_client import (
    GO_AHEAD,
    NO,
    OK,
    PIPELINING,
    answered,
    transaction,
)


def test_commands_up_to_data_are_one_write():
    written = Client(PIPELINING).begin(transaction("one@d.example", "two@d.example"))
    assert written == (
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<one@d.example>\r\nRCPT TO:<two@d.example>\r\nDATA\r\n"
    )


def test_a_go_ahead_with_no_recipient_is_answered_by_an_empty_message():
    client = Client(PIPELINING)
    client.begin(transaction())
    steps, written = answered(client, OK, NO, GO_AHEAD, NO)
    assert steps == [Next.WAIT, Next.WAIT, Next.WRITE, Next.DONE]
    assert written == [b".\r\n"]
    assert client.result.final is None


def test_a_go_ahead_after_a_refused_sender_too():
    client = Client(PIPELINING)
    client.begin(transaction())
    steps, written = answered(client, NO, NO, GO_AHEAD, NO)
    assert (steps[-1], written) == (Next.DONE, [b".\r\n"])
    assert client.result.mail == NO


def test_a_refusal_of_data_ends_it():
    client = Client(PIPELINING)
    client.begin(transaction())
    refused = Reply(451, ("4.3.0 not now",))
    steps, _ = answered(client, OK, OK, refused)
    assert steps[-1] is Next.DONE
    assert client.result.data == refused
    assert client.begin(transaction()).startswith(b"RSET\r\nMAIL")
