"""TOML files and command-line values as the model: the only validation of what a user writes."""
