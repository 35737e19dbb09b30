A script of ``hagoop.app`` is a program of the original interface too: ``--binary ./wordcount.py``.
