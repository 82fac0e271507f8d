"""2D keypoints that people have: what detectors write, and arrays."""
