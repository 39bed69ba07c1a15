"""Every directive, declared once; one class per scope."""
