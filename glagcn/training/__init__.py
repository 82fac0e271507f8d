"""The training loop, its loss, optimisers and checkpoints."""
