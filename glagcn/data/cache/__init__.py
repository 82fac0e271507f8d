"""The cache: one HDF5 file per data set and 2D source."""
