"""A world in one process and in virtual time: a real scheduler, docket and journal, simulated workers."""
