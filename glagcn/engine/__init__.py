"""One run: training, evaluation, metrics, optimisers and schedules, checkpoints, run log."""
