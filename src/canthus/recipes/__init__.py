"""What a user runs: train, and later distil, prune, quantize.  A recipe is a TOML file of settings."""
