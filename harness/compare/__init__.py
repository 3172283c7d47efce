"""Sides of runs, of this host and of others: what differs between them, and what makes them unlike."""
