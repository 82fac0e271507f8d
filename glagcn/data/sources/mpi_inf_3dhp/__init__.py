"""MPI-INF-3DHP: the official release, and npz files converted from it."""
