"""Human3.6M and HumanEva-I in the files of VideoPose3D."""
