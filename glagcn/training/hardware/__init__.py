"""Hardware-dependent parts: compilation, memory, peak rates, speed."""
