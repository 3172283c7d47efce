"""What runs inside instances, seen from the host: the channel to the agent, its jobs and milestones."""
