"""The options of a run: flags, presets, checks."""
