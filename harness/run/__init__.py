"""From a request to rows in the journal: plan, set-up, the one loop over blocks, and the cleaning up."""
