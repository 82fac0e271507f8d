"""Measurements in new processes."""
