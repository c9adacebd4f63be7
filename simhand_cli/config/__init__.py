"""Base config model, YAML and --set overrides, and the command line generated from them."""
