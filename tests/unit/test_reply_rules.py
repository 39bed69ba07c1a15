"""Lines of an smtp-pattern-list: what they may say. Guide: smtp-pattern-list."""

import pytest

from mta.config.rules import parse_reply_rule
from mta.model.outcome import Verdict


def rule(actions):
    return parse_reply_rule(f"/x/ {actions}", "f:1")


@pytest.mark.parametrize(
    ("actions", "verdict", "bounces"),
    [
        ("mode=backoff", Verdict(mode="backoff"), False),
        ("mode=normal", Verdict(mode="normal"), False),
        (
            "mode=backoff,backoff-to-normal-after=1h",
            Verdict(mode="backoff", backoff_to_normal_after=3600),
            False,
        ),
        (
            "disable-source-ip, reenable-after=30m , mode=backoff",
            Verdict(disable_source_ip=True, reenable_after=1800, mode="backoff"),
            False,
        ),
        ("skip-mx", Verdict(skip_mx=True), False),
        ("bounce-queue", Verdict(bounce_queue=True), False),
        ("DEFER-QUEUE", Verdict(defer_queue=True), False),
        ("bounce-rcpt,mode=backoff", Verdict(mode="backoff"), True),
    ],
)
def test_actions_of_one_line_are_added_up(actions, verdict, bounces):
    found = rule(actions)
    assert (found.verdict, found.bounce_rcpt) == (verdict, bounces)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ("mode=backoff,mode=normal", "both modes"),
        ("skip-mx,bounce-queue", "both skip-mx and bounce-queue"),
        ("bounce-queue,skip-mx", "both skip-mx and bounce-queue"),
        ("backoff-to-normal-after=1h,mode=backoff", "after mode=backoff"),
        ("mode=normal,backoff-to-normal-after=1h", "after mode=backoff"),
        ("mode=backoff,backoff-to-normal-after=1h,backoff-to-normal-after=2h", "once"),
        ("reenable-after=1h,disable-source-ip", "after disable-source-ip"),
        ("disable-source-ip,reenable-after=1h,reenable-after=1h", "once"),
        ("disable-source-ip,reenable-after", "expected"),
        ("skip-mx=yes", "unknown action"),
        ("bounce", "unknown action"),
        ("", "an action is missing"),
    ],
)
def test_what_contradicts_itself_is_refused(actions, words):
    with pytest.raises(ValueError, match=words):
        rule(actions)


@pytest.mark.parametrize(
    ("expression", "reply", "matches"),
    [
        ("/^421 .*too many/", "421 4.7.0 TOO MANY connections", True),
        ("/(?-i)too many/", "421 TOO MANY", False),
        (r"/a\/b/", "421 a/b", True),
    ],
)
def test_case_counts_only_where_asked(expression, reply, matches):
    found = parse_reply_rule(f"{expression} mode=backoff", "f:1")
    assert bool(found.pattern.search(reply)) is matches
