"""The demonstration: good, bad and evil workers, and the same answer all the same.

What is unruly lives here, and only here: the worker that users run has none of it.
"""
