"""Checkpoints of the published code: read, recognise and write them."""
