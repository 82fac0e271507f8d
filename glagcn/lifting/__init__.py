"""Lifted people: root path in camera space, smoothing, floor estimation, and output files."""
