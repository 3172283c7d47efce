"""Pure numbers: block values, intervals, overheads, verdicts, rankings."""
