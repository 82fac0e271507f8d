"""The demo: synthetic people, made on the spot."""
