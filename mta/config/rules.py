"""The lines of smtp-pattern-list and bounce-category-patterns. Guide: smtp-pattern-list."""

from dataclasses import replace

from mta import units
from mta.config.expressions import compile_expression, split_expression
from mta.model.outcome import NO_VERDICT, Verdict
from mta.model.reply_rule import ReplyRule


def parse_reply_rule(text: str, place: str) -> ReplyRule:
    """A `reply` line without its first word; ValueError."""
    expression, rest = split_expression(text)
    pattern = compile_expression(expression)
    verdict, bounce_rcpt = _actions(rest)
    return ReplyRule(pattern, verdict, bounce_rcpt, f"reply {text}", place)


def _actions(text: str) -> tuple[Verdict, bool]:
    items = [item.strip().lower() for item in text.split(",") if item.strip()]
    if not items:
        raise ValueError("an action is missing after the expression, such as mode=backoff")
    verdict, bounce_rcpt = NO_VERDICT, False
    for item in items:
        name, _, value = (part.strip() for part in item.partition("="))
        match name:
            case "mode" if value in ("backoff", "normal"):
                if verdict.mode not in ("", value):
                    raise ValueError("one rule cannot set both modes")
                verdict = replace(verdict, mode=value)
            case "backoff-to-normal-after":
                if verdict.mode != "backoff" or verdict.backoff_to_normal_after is not None:
                    raise ValueError(f"{name} goes once, after mode=backoff")
                verdict = replace(verdict, backoff_to_normal_after=units.parse_interval(value))
            case "reenable-after":
                if not verdict.disable_source_ip or verdict.reenable_after is not None:
                    raise ValueError(f"{name} goes once, after disable-source-ip")
                verdict = replace(verdict, reenable_after=units.parse_interval(value))
            case "skip-mx" | "bounce-queue" | "defer-queue" | "disable-source-ip" if not value:
                verdict = _with_action(verdict, name)
            case "bounce-rcpt" if not value:
                bounce_rcpt = True
            case _:
                raise ValueError(
                    f'unknown action "{item}"; there are mode=backoff, mode=normal, skip-mx, '
                    "bounce-queue, bounce-rcpt, disable-source-ip, defer-queue"
                )
    if verdict.skip_mx and verdict.bounce_queue:
        raise ValueError("one rule cannot say both skip-mx and bounce-queue")
    return verdict, bounce_rcpt


def _with_action(verdict: Verdict, name: str) -> Verdict:
    match name:
        case "skip-mx":
            return replace(verdict, skip_mx=True)
        case "bounce-queue":
            return replace(verdict, bounce_queue=True)
        case "defer-queue":
            return replace(verdict, defer_queue=True)
        case _:
            return replace(verdict, disable_source_ip=True)
