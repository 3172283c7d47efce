"""tare: measures what virtualization costs on this host, with an interval on every figure."""

__version__ = "0.1.0"
