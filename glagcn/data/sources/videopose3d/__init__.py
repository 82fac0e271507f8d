"""Human3.6M and HumanEva-I as VideoPose3D's npz files."""
