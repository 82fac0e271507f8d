"""How fast each part is on this machine, beside a plain reference and beside what the hardware could do."""
