"""What depends on the machine: compiling, memory, peak rates, speed."""
