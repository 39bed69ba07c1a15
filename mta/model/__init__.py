"""What flows through the program: frozen values that every layer speaks."""
