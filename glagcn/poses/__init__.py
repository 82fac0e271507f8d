"""2D poses in, 3D poses out: joints, gaps, normalisation, lifting, people, files."""
