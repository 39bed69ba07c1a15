import re
from types import SimpleNamespace

import pytest

from mta.model.outcome import Bounced, Deferred, Delivered, Stage, Verdict
from mta.model.reply import Reply
from mta.model.reply_rule import ReplyRule
from mta.queues.backoff import effective
from mta.queues.replies import Fate, conclude, failure_of, judge, put_off
from mta.queues.retry import POSITION_MAX, RetryLadder
from mta.smtp.client import TransactionResult
from mta.units import DataRate, Rate

OK = Reply(250, ("2.0.0 ok",))
GO_AHEAD = Reply(354, ("go ahead",))


def settings(**changes):
    values = {
        "smtp_421_means_mx_unavailable": False,
        "smtp_553_means_invalid_mailbox": False,
        "replace_smtp_421_service_response": False,
        "bounce_upon_5xx_greeting": False,
        "bounce_upon_transfer_failure": False,
        "bounce_upon_pix_transfer_failure": False,
        "assume_delivery_upon_data_termination_timeout": False,
    }
    return SimpleNamespace(**(values | changes))


def rule(pattern, *, bounce_rcpt=False, **verdict):
    return ReplyRule(re.compile(pattern), Verdict(**verdict), bounce_rcpt, f"/{pattern}/", "f:1")


def result(mail=OK, rcpts=(OK,), data=GO_AHEAD, final=OK, **changes):
    return TransactionResult(list(rcpts), mail=mail, data=data, final=final, **changes)


def outcomes(*rules, **given):
    changed = given.pop("settings", settings())
    return list(conclude(result(**given), changed, rules).outcomes)


def kinds(found):
    return [type(one).__name__ if one else None for one in found]


def test_what_was_accepted_is_delivered():
    assert outcomes() == [Delivered("2.0.0", "smtp;250 2.0.0 ok")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rcpts": [OK, Reply(550, ("5.1.1 no",))]}, ["Delivered", "Bounced"]),
        ({"rcpts": [Reply(450, ("4.2.1 later",)), OK]}, ["Deferred", "Delivered"]),
        ({"mail": Reply(550, ("5.7.1 no",)), "rcpts": [None, None]}, ["Bounced", "Bounced"]),
        ({"mail": Reply(451, ("4.3.0 no",)), "rcpts": [None]}, ["Deferred"]),
        ({"final": Reply(554, ("5.7.1 spam",)), "rcpts": [OK, OK]}, ["Bounced", "Bounced"]),
        ({"data": Reply(451, ("4.3.0 no",)), "final": None}, ["Deferred"]),
        ({"rcpts": [OK, Reply(552, ("too many",))]}, ["Delivered", "Deferred"]),
        ({"rcpts": [Reply(552, ("mailbox full",))], "data": None, "final": None}, ["Bounced"]),
        ({"final": None, "broken": "EDISCON", "broken_stage": Stage.CONTENT}, ["Deferred"]),
        ({"data": None, "final": None, "broken": "EDISCON", "broken_stage": Stage.DATA}, [None]),
        ({"mail": None, "rcpts": [None], "broken": "x", "broken_stage": Stage.MAIL}, [None]),
    ],
)
def test_who_is_concerned_and_what_becomes_of_them(given, expected):
    assert kinds(outcomes(**given)) == expected


def test_a_reply_without_enhanced_code_is_of_its_class():
    assert outcomes(final=Reply(550, ("no",))) == [Bounced("5.0.0", "smtp;550 no")]


def test_a_broken_transfer_bounces_if_told_to():
    given = {"final": None, "broken": "EDISCON", "broken_stage": Stage.CONTENT}
    found = outcomes(settings=settings(bounce_upon_transfer_failure=True), **given)
    assert kinds(found) == ["Bounced"]


ASSUME = {"assume_delivery_upon_data_termination_timeout": True}
PIX = {"bounce_upon_pix_transfer_failure": True}
TRANSFER = {"bounce_upon_transfer_failure": True}


@pytest.mark.parametrize(
    ("changes", "peer", "expected"),
    [
        (ASSUME, {"is_unanswered": True}, "Delivered"),
        (ASSUME, {}, "Deferred"),
        (PIX, {"is_pix": True}, "Bounced"),
        (PIX, {}, "Deferred"),
        (ASSUME | TRANSFER, {"is_unanswered": True}, "Delivered"),
        (ASSUME | TRANSFER, {}, "Bounced"),
    ],
)
def test_content_that_got_no_reply_is_judged_by_what_is_known(changes, peer, expected):
    given = {"final": None, "broken": "ETIMEDOUT", "broken_stage": Stage.CONTENT}
    concluded = conclude(result(**given, **peer), settings(**changes), ())
    assert kinds(concluded.outcomes) == [expected]
    assert bool(concluded.failure) is (expected != "Delivered")


def test_421_announces_that_the_connection_closes():
    assert conclude(result(final=Reply(421, ("bye",))), settings(), ()).said_421
    assert not conclude(result(final=Reply(451, ("no",))), settings(), ()).said_421


@pytest.mark.parametrize(
    ("means", "text", "status"),
    [
        (True, "no such user", "5.1.1"),
        (False, "no such user", "5.0.0"),
        (True, "5.7.1 no", "5.7.1"),
    ],
)
def test_553_may_mean_that_there_is_no_such_mailbox(means, text, status):
    changed = settings(smtp_553_means_invalid_mailbox=means)
    (outcome,) = outcomes(rcpts=[Reply(553, (text,))], data=None, final=None, settings=changed)
    assert outcome.status == status


def test_the_text_of_a_421_may_be_replaced_in_reports():
    changed = settings(replace_smtp_421_service_response=True)
    (outcome,) = outcomes(final=Reply(421, ("4.7.0 secret text",)), settings=changed)
    assert outcome == Deferred("4.7.0", "smtp;421 4.7.0 service unavailable")


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.DATA, Stage.CONTENT])
def test_a_rule_bounces_a_recipient_only_for_a_reply_to_him(stage):
    judged = judge(Reply(451, ("no",)), stage, settings(), (rule("no", bounce_rcpt=True),))
    assert judged.fate is Fate.DEFER


def test_skip_mx_keeps_mail_even_after_a_permanent_refusal():
    judged = judge(Reply(554, ("no",)), Stage.RCPT, settings(), (rule("no", skip_mx=True),))
    assert (judged.fate, judged.is_queue_level, judged.verdict.skip_mx) == (Fate.DEFER, True, True)


def test_a_pattern_changes_the_mode_and_leaves_the_recipient_deferred():
    busy = Reply(421, ("4.7.0 too many",))
    concluded = conclude(result(final=busy), settings(), (rule("too many", mode="backoff"),))
    assert concluded.verdict.mode == "backoff"
    assert concluded.reply == busy
    assert kinds(concluded.outcomes) == ["Deferred"]
    assert concluded.verdict.pattern == "/too many/ (f:1)"


def test_of_two_rules_that_contradict_the_first_wins():
    rules = (rule("no", mode="normal"), rule("no", mode="backoff", skip_mx=True))
    verdict = conclude(result(final=Reply(451, ("no",))), settings(), rules).verdict
    assert (verdict.mode, verdict.skip_mx, verdict.close_connection) == ("normal", True, True)


def test_a_rule_may_bounce_a_recipient_that_was_only_deferred():
    found = outcomes(
        rule("over quota", bounce_rcpt=True), rcpts=[Reply(452, ("4.2.2 over quota",))], final=None
    )
    assert found == [Bounced("4.2.2", "x-pmta;bounce-rcpt;reply:452 4.2.2 over quota")]


def test_a_rule_may_bounce_the_queue():
    concluded = conclude(
        result(final=Reply(554, ("gone",))), settings(), (rule("gone", bounce_queue=True),)
    )
    assert concluded.verdict.bounce_queue
    assert kinds(concluded.outcomes) == ["Bounced"]


@pytest.mark.parametrize(
    ("means", "skips", "expected"), [(True, True, [None]), (False, False, ["Deferred"])]
)
def test_421_may_mean_that_the_host_is_unavailable(means, skips, expected):
    concluded = conclude(
        result(final=Reply(421, ("busy",))), settings(smtp_421_means_mx_unavailable=means), ()
    )
    assert concluded.verdict.skip_mx is skips
    assert kinds(concluded.outcomes) == expected


@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.EHLO, Stage.STARTTLS])
@pytest.mark.parametrize("code", [421, 450, 554])
def test_a_refused_connection_costs_no_recipient(stage, code):
    judged = judge(Reply(code, ("no",)), stage, settings(), ())
    assert (judged.fate, judged.is_queue_level) == (Fate.DEFER, True)


def test_a_refused_greeting_may_bounce_the_queue():
    changed = settings(bounce_upon_5xx_greeting=True)
    assert judge(Reply(554, ("no",)), Stage.GREETING, changed, ()).verdict.bounce_queue
    assert not judge(Reply(421, ("no",)), Stage.GREETING, changed, ()).verdict.bounce_queue


@pytest.mark.parametrize(
    ("stage", "status"),
    [(Stage.RESOLVE, "4.4.3"), (Stage.CONNECT, "4.4.1"), (Stage.EHLO, "4.4.2")],
)
def test_a_failure_without_reply_has_the_status_of_its_stage(stage, status):
    assert failure_of(stage) == Deferred(status, "")


def test_failures_climb_the_list_and_its_last_interval_repeats():
    ladder = RetryLadder()
    assert [ladder.next((60, 120)) for _ in range(4)] == [60, 120, 120, 120]
    ladder.reset()
    assert ladder.next((60, 120)) == 60


def test_a_position_beyond_every_list_counts_no_further():
    assert RetryLadder(10_000).position == POSITION_MAX


def test_backoff_has_limits_of_its_own_and_the_normal_rates_by_default():
    pace = effective(
        SimpleNamespace(
            max_smtp_out=20,
            max_msg_rate=Rate(10, 1),
            max_data_volume_rate=DataRate(1 << 20, 1),
            max_connect_rate=Rate(5, 1),
            retry_after=(600,),
            backoff_max_smtp_out=1,
            backoff_max_msg_rate=None,
            backoff_max_data_volume_rate=None,
            backoff_max_connect_rate=Rate(1, 60),
            backoff_retry_after=(3600,),
        ),
        "backoff",
    )
    assert pace == (1, Rate(10, 1), DataRate(1 << 20, 1), Rate(1, 60), (3600,))


def test_an_answer_out_of_step_is_a_failure_and_after_the_content_of_who_got_it():
    for given, stage, said in [
        ({"mail": GO_AHEAD, "rcpts": [None]}, "MAIL", "354 go ahead"),
        ({"rcpts": [GO_AHEAD]}, "RCPT", "354 go ahead"),
        ({"data": OK, "final": None}, "DATA", "250 2.0.0 ok"),
        ({"final": GO_AHEAD}, "CONTENT", "354 go ahead"),
    ]:
        concluded = put_off(conclude(result(**given), settings(), ()))
        assert concluded.outcomes == (Deferred("4.5.0", f"smtp;{said}"),)
        assert concluded.failure == f"{stage} was answered out of step: {said}"
        assert concluded.verdict.close_connection


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.CONTENT])
def test_what_is_no_reply_stands_in_what_is_recorded(stage):
    fault = "not a reply: 'Traceback'"
    missing = {"rcpts": [None], "data": None} if stage is Stage.RCPT else {}
    given = result(final=None, broken="protocol error", broken_stage=stage, fault=fault, **missing)
    concluded = put_off(conclude(given, settings(), ()))
    assert concluded.outcomes == (Deferred("4.5.0", f"x-pmta;{fault}"),)


def test_a_host_that_greets_out_of_step_is_quoted():
    greeting = Reply(250, ("2.0.0 hello",))
    assert failure_of(Stage.GREETING, greeting) == Deferred("4.5.0", "smtp;250 2.0.0 hello")
    assert failure_of(Stage.GREETING, None, "not a reply: 'SSH-2.0'") == Deferred(
        "4.5.0", "x-pmta;not a reply: 'SSH-2.0'"
    )


@pytest.mark.parametrize("action", ["skip_mx", "bounce_queue"])
def test_what_a_verdict_leaves_to_others_is_not_put_off_where_the_peer_hangs_up(action):
    gone = {"rcpts": [None], "data": None, "final": None, "broken": "EDISCON"}
    given = result(mail=OK, broken_stage=Stage.RCPT, **gone)
    assert kinds(put_off(conclude(given, settings(), ())).outcomes) == ["Deferred"]
    given = result(rcpts=[Reply(554, ("blocked",)), None], data=None, final=None, broken="EDISCON")
    concluded = conclude(given, settings(), (rule("blocked", **{action: True}),))
    assert put_off(concluded) == concluded
    assert concluded.outcomes[1] is None
