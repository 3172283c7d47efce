"""TOML files and command-line values → the model: the only validation of what a user writes."""
