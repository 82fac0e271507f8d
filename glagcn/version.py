"""The version, alone in a file: setup.cfg reads it, and checkpoints and results name it, and nothing is imported."""

__version__ = "0.1.0"
