"""Real KVM on a machine without: tare itself, run in an emulated guest whose processor offers virtualization.

Its figures prove paths and shapes and no speed: the lab's own processor is emulated, and no verdict takes them.
"""
