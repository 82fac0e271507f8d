"""Lifted people: their way through space, smoothing, the floor that they stand on, and the files that hold them."""
