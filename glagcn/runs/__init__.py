"""The run folder: files, lock, log and training curves."""
