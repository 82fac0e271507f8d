"""Benchmarks of every part on this machine, next to a plain reference and the limits of the hardware."""
