"""Files of poses for other programs."""
