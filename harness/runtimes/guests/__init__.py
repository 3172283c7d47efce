"""Shared by the runtimes whose guests have their own kernel: acceleration, disks, init's arguments, processes."""
