"""The kind of trouble a bounce means. Guide: bounce-category-patterns.

Patterns are tried in order on `x.y.z;diagnostic`, without the words of the status, case
ignored; the first that matches gives the category.
"""

import re
from collections.abc import Iterable
from typing import Final

from mta.config.expressions import compile_expression

OTHER: Final = "other"
"""What no pattern says anything about."""


class Categories:
    """An ordered list of patterns, ready to use."""

    def __init__(self, patterns: Iterable[tuple[re.Pattern[str], str]]) -> None:
        """`patterns` are (regular expression, category)."""
        self._rules = list(patterns)
        self._of_success = [rule for rule in self._rules if rule[0].pattern.startswith("^2")]

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]]) -> "Categories":
        """From expressions as they are written; ValueError."""
        return cls((compile_expression(text), category) for text, category in texts)

    def category(self, status: str, diagnostic: str) -> str:
        """The category of a failure; `status` is `x.y.z`, `diagnostic` e.g. `smtp;550 …`."""
        subject = f"{status};{diagnostic}"
        for pattern, category in self._rules:
            if pattern.search(subject):
                return category
        return OTHER

    def category_of_success(self, status: str, diagnostic: str) -> str:
        """The category of a delivery: that of a pattern made for deliveries, or empty.

        Only patterns that begin with `^2` are tried: words such as "spam" in a 250 reply
        are no trouble, and deliveries are too many to run the whole list on.
        """
        subject = f"{status};{diagnostic}"
        for pattern, category in self._of_success:
            if pattern.search(subject):
                return category
        return ""
