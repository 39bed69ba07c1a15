"""Which queue a recipient goes to, and which hosts serve it."""
