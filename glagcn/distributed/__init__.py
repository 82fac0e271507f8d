"""The processes of a run and their device: launcher, ranks, precision, memory."""
