"""Checkpoint files: write, find, load."""
