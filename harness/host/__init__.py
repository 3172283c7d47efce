"""The host: its facts and fitness, its daemons, and the counters that it keeps."""
