"""Training with Lightning: batches, tasks, optimizers, runs."""
