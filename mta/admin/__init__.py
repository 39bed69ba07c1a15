"""Commands of an operator, and how their answers are shown."""
