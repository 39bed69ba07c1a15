"""What of a header block is a field to sign."""

from mta.signing.canonical import fields


def test_a_field_begins_with_its_line():
    block = (
        b"Quoted From: ceo@bank.example\r\n\tTo: x\r\nFrom: n@sender.example\r\n\tSubject: y\r\n"
    )

    assert [one.octets for one in fields(block)] == [b"From: n@sender.example\r\n\tSubject: y\r\n"]
