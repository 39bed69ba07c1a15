"""What a failure is called, and what is written to the sender."""
