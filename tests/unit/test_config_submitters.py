"""Users, groups, lists and aliases as a configuration has them."""

import pytest

from mta.model.secret import ClearSecret, ScryptSecret
from tests.texts import configured, only, said

HASH = "{scrypt}ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA==$a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U="


def submitters(text):
    return configured(text).submitters


def test_users_are_who_they_are_written():
    found = submitters(
        f"<smtp-user a@b.example>\npassword p)(%$w\n</smtp-user>\n"
        f"<smtp-user Hashed>\npassword {HASH}\nsource x\n</smtp-user>\n<source x>\n</source>\n"
    )
    assert found.users["a@b.example"].secret == ClearSecret("p)(%$w")
    assert isinstance(found.users["Hashed"].secret, ScryptSecret)
    assert found.users["Hashed"].source == "x"
    assert found.users["a@b.example"].source == "{auth}"
    assert "hashed" not in found.users


def test_no_mechanism_that_nobody_can_use():
    hashed = f"<smtp-user a>\npassword {HASH}\n</smtp-user>\n"
    assert submitters("").mechanisms == frozenset()
    assert submitters(hashed).mechanisms == {"PLAIN", "LOGIN"}
    clear = "<smtp-user b>\npassword x\n</smtp-user>\n"
    assert submitters(hashed + clear).mechanisms == {
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256",
    }  # fmt: skip


def test_a_secret_is_not_printed():
    assert "pencil" not in repr(submitters("<smtp-user b>\npassword pencil\n</smtp-user>\n"))


def test_what_holds_for_a_user():
    configuration = configured(
        "<source 0/0>\nmax-message-hops 1\nsmtp-command-timeout 1s\nsmtp-data-timeout 1s\n"
        "max-message-size 1k\nremove-header X\n</source>\n"
        "<source door>\nmax-message-hops 2\nsmtp-command-timeout 2s\nsmtp-data-timeout 2s\n"
        "max-message-size 2k\n</source>\n"
        "<source {auth}>\nmax-message-hops 3\nsmtp-command-timeout 3s\nsmtp-data-timeout 3s\n"
        "</source>\n"
        "<source user>\nmax-message-hops 4\nsmtp-command-timeout 4s\n</source>\n"
    )
    before = configuration.source("192.0.2.1", "door")
    assert (before.max_message_hops, before.max_message_size) == (2, 2048)
    auth = configuration.source("192.0.2.1", "door", "{auth}")
    assert (auth.max_message_hops, auth.smtp_data_timeout) == (3, 3)
    user = configuration.source("192.0.2.1", "door", "user")
    assert user.max_message_hops == 4
    assert user.smtp_data_timeout == 3
    assert user.max_message_size == 2048
    assert user.remove_header == ("X",)


ALIASES = """
host-name mx.example
alias info joe@else.example, ann@else.example
<aliases>
alias *@old.example catch@new.example
alias boss@old.example\tjoe@else.example
alias self self,copy@else.example
alias ping pong
alias pong ping
alias "max"@bücher.example. joe@else.example
alias *@old.Bücher.example catch@new.example
alias twice one@else.example,"one"@else.example.
</aliases>
"""


@pytest.mark.parametrize(
    ("rcpt", "targets"),
    [
        ("info@mx.example", ("joe@else.example", "ann@else.example")),
        ("INFO@MX.example", ("joe@else.example", "ann@else.example")),
        ("info@other.example", ("info@other.example",)),
        ("any@old.example", ("catch@new.example",)),
        ("Boss@Old.example", ("joe@else.example",)),
        ("self@mx.example", ("self@mx.example", "copy@else.example")),
        ("ping@mx.example", ("ping@mx.example",)),
        ('"info"@mx.example.', ("joe@else.example", "ann@else.example")),
        ("any@OLD.example.", ("catch@new.example",)),
        ("max@xn--bcher-kva.example", ("joe@else.example",)),
        ("any@old.bücher.example", ("catch@new.example",)),
        ("twice@mx.example", ("one@else.example",)),
        ('"Nobody"@mx.example.', ('"Nobody"@mx.example.',)),
    ],
)
def test_aliases(rcpt, targets):
    assert submitters(ALIASES).targets(rcpt, frozenset({"mx.example"})) == targets


@pytest.mark.parametrize(
    "line", ["alias info", "alias info not an address", "alias a@b@c x@y.example",
             "alias *@ x@y.example", "alias /re/ x@y.example,"],
)  # fmt: skip
def test_an_alias_that_is_none_is_an_error(line):
    assert "alias" in only(f"{line}\n", "error").message


@pytest.mark.parametrize(
    ("directive", "what"),
    [("suppression-lists bad", "address-list bad"), ("source-group g", "source-group g")],
)
def test_what_a_source_names_has_to_be_there(directive, what):
    assert what in only(f"<source 0/0>\n{directive}\n</source>\n", "error").message


def test_limits_of_groups_and_what_listeners_take_from_the_top_level():
    configuration = configured(
        "smtp-await-slot yes\nsmtp-server-tls-ca-file ca.pem\nsmtp-listener 127.0.0.1:25\n"
        "<smtp-listener 127.0.0.1:26>\nawait-slot no\ntls-ca-file /other.pem\n</smtp-listener>\n"
        "<source-group g>\nmax-smtp-in 7\nreserved-smtp-in 3\n</source-group>\n"
    )
    group = configuration.submitters.groups["g"]
    assert (group.max_smtp_in, group.reserved_smtp_in) == (7, 3)
    assert [(one.await_slot, one.tls_ca_file) for one in configuration.listeners] == [
        (True, "/etc/pmta/ca.pem"),
        (False, "/other.pem"),
    ]


LISTENING = "smtp-listener 0.0.0.0:25 source=door\n<source door>\nalways-allow-relaying yes\n"


def test_a_source_for_everybody_is_no_open_relay_where_it_requires_auth():
    assert "lets everybody relay" in only(f"{LISTENING}</source>\n", "error").message
    assert said(f"{LISTENING}require-auth yes\n</source>\n", "error") == []


@pytest.mark.parametrize("rcpt", ["postmaster@mx.example", '"Abuse"@MX.example.'])
def test_the_postmaster_gets_what_is_for_him_however_it_is_spelled(rcpt):
    found = submitters("host-name mx.example\npostmaster pat@else.example\n")
    assert found.targets(rcpt, frozenset({"mx.example"})) == ("pat@else.example",)
