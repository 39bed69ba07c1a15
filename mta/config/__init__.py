"""From configuration text to settings, with the place of every value."""
