"""What happened, as rows that other programs tail."""
