"""Train, fit, export, prune and quantize models by recipes, which are TOML files of settings."""
