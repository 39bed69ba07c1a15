"""The provider simulator and the program in virtual time."""
