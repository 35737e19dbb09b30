"""MapReduce for machines you cannot count on."""

__version__ = "0.1.0"
