"""Processes and devices of a run: launcher, ranks, stop signals, precision, memory."""
