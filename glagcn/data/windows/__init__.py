"""Windows of frames: their order, and batches of them on the device."""
