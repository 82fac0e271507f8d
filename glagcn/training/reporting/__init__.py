"""Reports of a run: summary at its start, log lines during training, comparison with reference runs at its end."""
