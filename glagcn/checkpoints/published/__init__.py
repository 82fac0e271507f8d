"""Checkpoints of the published code: read, recognise, write."""
