"""The run folder: lock, log and curves."""
