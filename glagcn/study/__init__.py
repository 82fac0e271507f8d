"""Studies: train several configurations with the same seeds, and compare them."""
