"""The lines of smtp-pattern-list and bounce-category-patterns. Guide: smtp-pattern-list."""

import re
from dataclasses import replace
from typing import Final

from mta import units
from mta.model.outcome import NO_VERDICT, Verdict
from mta.model.reply_rule import ReplyRule

EXPRESSION_CHARACTERS_MAX: Final = 4096
_NESTED_REPEAT = re.compile(r"\((?:[^()\\]|\\.)*[*+](?:[^()\\]|\\.)*\)(?:[*+]|\{\d+,\})")


def split_expression(text: str) -> tuple[str, str]:
    r"""`/re/ rest` as (re, rest), `\/` undone; ValueError if it is not of that form."""
    if not text.startswith("/"):
        raise ValueError("expected a regular expression between slashes, such as /^421/")
    at = 1
    while at < len(text) and text[at] != "/":
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError("the regular expression has no closing slash")
    return text[1:at].replace("\\/", "/"), text[at + 1 :].strip()


def compile_expression(text: str) -> re.Pattern[str]:
    """A regular expression that ignores case unless it begins with `(?-i)`; ValueError."""
    flags = re.IGNORECASE
    if text.startswith("(?-i)"):
        text, flags = text[5:], re.NOFLAG
    text = re.sub(r"^\(\?i\)", "", text)
    try:
        return re.compile(_as_python(text), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


def backtracks(text: str) -> bool:
    """Whether a repeat in a repeat may take exponential time on some replies."""
    return bool(_NESTED_REPEAT.search(text))


def _as_python(text: str) -> str:
    """The spellings of PCRE that Python writes otherwise."""
    text = text.replace(r"\Z", r"(?=\n?\Z)").replace(r"\z", r"\Z").replace(r"\h", r"[ \t]")
    classes = {
        "[:digit:]": r"\d", "[:space:]": r"\s", "[:alpha:]": "a-zA-Z", "[:alnum:]": "a-zA-Z0-9",
        "[:upper:]": "A-Z", "[:lower:]": "a-z", "[:xdigit:]": "0-9a-fA-F",
        "[:punct:]": r"!-/:-@\[-`{-~",
    }  # fmt: skip
    for name, members in classes.items():
        text = text.replace(name, members)
    return text


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
