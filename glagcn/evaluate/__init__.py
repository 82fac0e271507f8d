"""Predict every frame once, and score the poses."""
