"""Windows of frames: the epoch plan, and batches on the device."""
