"""Recorded human motion of the CMU Graphics Lab Motion Capture Database, filmed by cameras that are drawn."""
