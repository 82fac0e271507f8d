"""MPI-INF-3DHP: the official release and npz files made of it."""
