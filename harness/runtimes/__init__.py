"""Runtimes: how instances are prepared, launched and removed; one package of the same shape for each."""
