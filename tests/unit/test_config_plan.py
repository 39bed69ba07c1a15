"""What going from one configuration to another changes, in terms of what is in effect."""

import json

import pytest

from mta import cli
from mta.admin.protocol import Exit
from mta.config.plan import at_next_start, compare, fixed
from mta.model.queue_key import QueueKey
from tests.texts import HEAD, configured

VMTA = "<virtual-mta {}>\nmax-smtp-out {}\n</virtual-mta>\n"
DOMAIN = "<domain {}>\nmax-smtp-out {}\n</domain>\n"


def plan(old, new, *held):
    return compare(configured(HEAD + old), configured(HEAD + new), held)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "# a comment\n\n"),
        (DOMAIN.format("gmail.com", 3), "domain GMAIL.com{\nmax-smtp-out   3\n}\n"),
        (DOMAIN.format("*", 3), DOMAIN.format("*", 3) + DOMAIN.format("gmail.com", 3)),
        (
            "domain-macro m a.org,b.org\n" + DOMAIN.format("$m", 3),
            DOMAIN.format("b.org", 3) + DOMAIN.format("a.org", 3),
        ),
        (VMTA.format("a", 3), VMTA.format("a", 9) + VMTA.format("A", 3)),
    ],
)
def test_files_that_mean_the_same_change_nothing(old, new):
    assert plan(old, new).is_empty
    assert plan(new, old).is_empty


def test_a_changed_limit_names_all_it_is_about_and_the_line_that_decides():
    found = plan(
        DOMAIN.format("*", 3) + DOMAIN.format("gmail.com", 5) + DOMAIN.format("*.b.org", 3),
        DOMAIN.format("*", 4) + DOMAIN.format("gmail.com", 5),
        QueueKey("c.org", "{default}"),
    )
    ((change, labels),) = found.queues.items()
    assert (change.directive, change.before, change.after) == ("max-smtp-out", "3", "4")
    assert str(change.place) == "/etc/pmta/config:7"
    assert labels == ["c.org/{default}", "*/{default}", "*.b.org/{default}"]


def test_a_new_block_of_a_vmta_hides_a_global_one():
    top = DOMAIN.format("gmail.com", 5)
    found = plan(
        "<virtual-mta a>\n</virtual-mta>\n" + top,
        f"<virtual-mta a>\n{DOMAIN.format('*', 9)}</virtual-mta>\n" + top,
        QueueKey("gmail.com", "a"),
        QueueKey("gmail.com", "{default}"),
    )
    changes = {c.before: (c.after, labels) for c, labels in found.queues.items()}
    assert changes["5"] == ("9", ["gmail.com/a"])


def test_names_come_and_go_and_change():
    found = plan(
        VMTA.format("a", 3) + VMTA.format("b", 3)
        + "<virtual-mta-pool p>\nvirtual-mta a\n</virtual-mta-pool>\n"
        + "<source 10/8>\nlog-data yes\n</source>\n",
        VMTA.format("a", 4) + VMTA.format("c", 3)
        + "<virtual-mta-pool p>\nvirtual-mta a\nvirtual-mta c\n</virtual-mta-pool>\n"
        + "<source 10/8>\nlog-data no\n</source>\n<source {x}>\n</source>\n",
    )  # fmt: skip
    assert found.appear == ["VirtualMTA c", "source {x}"]
    assert found.vanish == ["VirtualMTA b"]
    assert [(name, c.directive, c.before, c.after) for name, c in found.changed] == [
        ("VirtualMTA a", "max-smtp-out", "3", "4"),
        ("pool p", "virtual-mta", "a", "a, c"),
        ("source 10.0.0.0/8", "log-data", "yes", "no"),
    ]


def test_mail_whose_vmta_would_be_gone_is_told():
    gone, stays = QueueKey("gmail.com", "b"), QueueKey("gmail.com", "a")
    found = plan(VMTA.format("a", 3) + VMTA.format("b", 3), VMTA.format("a", 3), gone, stays)
    assert found.stranded == [gone]


def test_what_takes_a_restart_says_so():
    found = plan("smtp-listener 127.0.0.1:25\n", "smtp-listener 127.0.0.1:26\n")
    assert found.restarts == ["smtp-listener"]
    found = plan("total-max-smtp-out 5\n", "total-max-smtp-out 6\nworkers 2\n")
    changes = {c.directive: (c.before, c.after, c.needs_restart) for c in found.top}
    assert changes == {"total-max-smtp-out": ("5", "6", False), "workers": ("1", "2", True)}


@pytest.fixture
def files(tmp_path):
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    head = f"spool {tmp_path}/spool\nsmtp-listener 127.0.0.1:2525\n"
    old.write_text(head + DOMAIN.format("gmail.com", 3) + VMTA.format("a", 2))
    new.write_text(head + DOMAIN.format("gmail.com", 4))
    return old, new


def test_as_it_is_typed(files, capsys):
    old, new = files
    assert cli.main(["plan", str(new), "--config", str(old)]) == Exit.DONE
    assert capsys.readouterr().out.splitlines() == [
        "- VirtualMTA a",
        f"~ queues gmail.com/{{default}}: max-smtp-out 3 → 4 ({new}:4)",
        "No daemon answers: queues that hold mail were not looked at.",
    ]
    assert cli.main(["plan", str(old), "--against", str(old)]) == Exit.DONE
    assert capsys.readouterr().out == "Nothing would change.\n"


def test_for_machines(files, capsys):
    old, new = files
    assert cli.main(["--json", "plan", str(new), "--against", str(old)]) == Exit.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["vanish"] == ["VirtualMTA a"]
    assert document["queues"][0]["queues"] == ["gmail.com/{default}"]


def test_a_file_that_cannot_be_used_has_no_plan(files, capsys):
    old, new = files
    new.write_text("nonsense 1\nmore-nonsense 2\n")
    assert cli.main(["plan", str(new), "--against", str(old)]) == Exit.REFUSED
    said = capsys.readouterr().err
    assert f"{new}:1:1" in said
    assert "1 more" in said


def test_a_rollup_queue_with_other_hosts_is_told():
    rollup = "<mx-rollup-list>\nmx mx1.a.com a.rollup\n{}</mx-rollup-list>\n"
    found = plan(rollup.format(""), rollup.format("mx mx2.a.com a.rollup\nmx mx.b.com b.rollup\n"))
    assert [change[:3] for change in found.top] == [
        ("mx", "mx1.a.com a.rollup", "mx1.a.com a.rollup, mx2.a.com a.rollup"),
        ("mx", '""', "mx.b.com b.rollup"),
    ]


def test_keys_of_pools_and_lists_are_compared():
    pool = VMTA.format("a", 3) + "<virtual-mta-pool p>\nvirtual-mta a\n{}</virtual-mta-pool>\n"
    key_list = "<domain-key-list l>\n{}</domain-key-list>\n"
    key = "domain-key s1,example.com,/k.pem\n"
    found = plan(pool.format("") + key_list.format(""), pool.format(key) + key_list.format(key))
    assert [(what, c.directive, c.after) for what, c in found.changed] == [
        ("domain-key-list l", "domain-key", "s1,example.com,/k.pem"),
        ("pool p", "domain-key", "s1,example.com,/k.pem"),
    ]
    assert plan("", key_list.format(key)).appear == ["domain-key-list l"]
    assert plan(key_list.format(key), "\n\n" + key_list.format(key)).is_empty


def test_what_a_vmta_has_of_its_pool_changes_with_the_pool():
    vmta = "<virtual-mta a>\n</virtual-mta>\n"
    text = vmta + "<virtual-mta-pool p>\nvirtual-mta a\n{}</virtual-mta-pool>\n"
    found = plan(text.format("max-smtp-out 5\n"), text.format("max-smtp-out 7\n"))
    ((name, change),) = found.changed
    assert (name, change.directive, change.before, change.after) == (
        "VirtualMTA a", "max-smtp-out", "5", "7",
    )  # fmt: skip
    assert str(change.place) == "/etc/pmta/config:10"


def test_what_a_reload_leaves_as_it_is_is_named_once():
    old, new = (configured(HEAD + text) for text in ("", "workers 2\nsync-msg-create no\n"))
    assert at_next_start(fixed(old), new) == ["sync-msg-create", "workers"]
    assert at_next_start(fixed(old), old) == []


def test_what_a_listener_says_besides_where_it_is_is_told():
    listener = "<smtp-listener 127.0.0.1:2525>\n{}\n</smtp-listener>\n<source s>\n</source>\n"
    found = plan(listener.format("source s"), listener.format("tls-allow-tlsv1.2 no"))
    assert found.restarts == []
    assert [(what, *change[:3], str(change.place)) for what, change in found.changed] == [
        ("smtp-listener 127.0.0.1:2525", "source", "s", '""', "/etc/pmta/config:6"),
        ("smtp-listener 127.0.0.1:2525", "tls-allow-tlsv1.2", "yes", "no", "/etc/pmta/config:6"),
    ]


def test_the_order_of_listeners_changes_nothing():
    first, second = "smtp-listener 127.0.0.1:25\n", "smtp-listener 127.0.0.1:26\n"
    old, new = (configured(HEAD + text) for text in (first + second, second + first))
    assert at_next_start(fixed(old), new) == []


def test_a_vmta_that_nothing_names_any_more_is_told():
    text = (
        "<source 127.0.0.1>\ndefault-virtual-mta {}\n</source>\n<source ::1>\n</source>\n"
        "<virtual-mta a>\n</virtual-mta>\n<virtual-mta b>\n</virtual-mta>\n"
        "<virtual-mta-pool p>\nvirtual-mta b\n</virtual-mta-pool>\n"
    )
    found = plan(text.format("a"), text.format("p"), QueueKey("gmail.com", "a"))
    assert (found.unreached, found.stranded) == (["a"], [])
    assert plan(text.format("p"), text.format("a")).unreached == ["b"]
    assert plan(text.format("a"), text.format("a")).is_empty
