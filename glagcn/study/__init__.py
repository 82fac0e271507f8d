"""Several configurations beside each other: each trained with the same seeds, then compared."""
