"""Keypoint files: formats, and who is where in which frames."""
