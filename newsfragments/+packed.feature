Inputs named ``.gz``, ``.bz2`` and ``.zst`` are read as the text within.
