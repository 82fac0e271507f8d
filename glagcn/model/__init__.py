"""The models: networks from 2D to 3D poses, independent of files, data sets and devices."""
