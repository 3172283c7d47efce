"""Containers of Docker, through its SDK."""

from harness.runtimes.docker.runtime import Docker

__all__ = ["Docker"]
