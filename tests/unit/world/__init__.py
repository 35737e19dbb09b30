"""A world in one process and in virtual time: a real scheduler and docket, simulated workers."""
