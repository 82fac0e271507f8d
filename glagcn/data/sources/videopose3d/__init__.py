"""Human3.6M and HumanEva-I from VideoPose3D's npz files."""
