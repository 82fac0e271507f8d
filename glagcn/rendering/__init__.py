"""Figures and animations of poses, keypoint files, video input and output."""
