"""Recorded human motion before made-up cameras, which comes with the program."""
