"""The demo: synthetic people, generated without files."""
