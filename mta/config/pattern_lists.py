"""Lists of regular expressions: smtp-pattern-list and bounce-category-patterns."""

import re
from collections.abc import Callable

from mta.config import expressions, rules
from mta.config.expressions import REPLY, STATUS, Start
from mta.config.grammar import Statement
from mta.config.place import Diagnostics, Place
from mta.model.reply_rule import ReplyRule
from mta.settings.kinds import unquote

Category = tuple[re.Pattern[str], str, Place]


class PatternLists:
    """Takes the lines of all lists, and says what is wrong with their expressions."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._rules: dict[str, list[ReplyRule]] = {}
        self._categories: list[Category] = []
        self._last: Place | None = None
        """Of the category that everything matches, if there is one."""

    @property
    def rules(self) -> dict[str, tuple[ReplyRule, ...]]:
        """The rules of each smtp-pattern-list, by its name in lower case."""
        return {name: tuple(found) for name, found in self._rules.items()}

    @property
    def categories(self) -> tuple[Category, ...]:
        return tuple(self._categories)

    def replies(self, name: str) -> Callable[[Statement], bool]:
        """What takes the lines of the smtp-pattern-list of that name."""
        found = self._rules.setdefault(name.lower(), [])

        def take(statement: Statement) -> bool:
            if statement.name != "reply":
                return False
            try:
                rule = rules.parse_reply_rule(statement.value, str(statement.place))
            except ValueError as error:
                self.error(statement, error)
            else:
                found.append(rule)
                self.remark(statement, rule.pattern, REPLY)
            return True

        return take

    def category(self, statement: Statement) -> bool:
        """Take a line of bounce-category-patterns; False if it is something else."""
        if statement.name != "/regex/":
            return False
        try:
            expression, category = expressions.split_expression(statement.value)
            category = unquote(category)
            pattern = expressions.compile_expression(expression)
            if not category:
                raise ValueError("a category is missing after the expression")
        except ValueError as error:
            self.error(statement, error)
            return True
        self._categories.append((pattern, category, statement.place))
        self.remark(statement, pattern, STATUS)
        if self._last is not None:
            self._diagnostics.warning(
                statement.value_place,
                f"never tried: everything matches the expression of line {self._last.line}",
                hint="the first that matches decides; put that one last",
                line=statement.line,
            )
        elif expressions.matches_everything(pattern):
            self._last = statement.place
        return True

    def remark(self, statement: Statement, pattern: re.Pattern[str], start: Start) -> None:
        """Warn of an expression that never matches, or that may take for ever."""
        place, line = statement.value_place, statement.line
        if not expressions.can_match(pattern, start):
            self._diagnostics.warning(
                place,
                "the expression can never match",
                hint=f"it is looked for in a text such as {start.example!r}" * bool(start.example),
                line=line,
            )
        elif expressions.backtracks(pattern):
            self._diagnostics.warning(
                place,
                "a repeat within a repeat may take very long on some texts",
                hint="let only one of the two repeat, or put between them what neither matches",
                line=line,
            )

    def error(self, statement: Statement, error: ValueError) -> None:
        """Say what is wrong with a line."""
        hint = ""
        if "closing slash" in str(error):
            if "#" in statement.line:
                hint = r'the comment takes what follows: write \x23 for a "#" of the expression'
            elif statement.name == "/regex/":
                hint = "the whole expression stands on one line; was it wrapped?"
        name = "" if statement.name == "/regex/" else f"{statement.name}: "
        self._diagnostics.error(
            statement.value_place,
            f"{name}{error}",
            hint=hint,
            line=statement.line,
        )
