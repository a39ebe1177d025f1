"""Times against peers, in one process."""
