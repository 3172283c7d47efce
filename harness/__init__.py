"""tare: what each layer of virtualization costs on this host, and how sure that is."""

__version__ = "0.1.0"
