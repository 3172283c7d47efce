"""What the runtimes with guests of their own kernel share: acceleration, disks, what init is told, QEMU's process."""
