"""When a recipient is tried, and how many connections at once."""
