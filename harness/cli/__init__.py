"""The command line: its parser, its commands, and what a terminal shows."""
