"""What a run builds on the host around its instances: bridge and peer, CPU sets, scratch space, host lock."""
