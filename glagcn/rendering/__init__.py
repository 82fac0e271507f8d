"""Pictures and animations of poses, and keypoint files to draw."""
