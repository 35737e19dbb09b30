``hagoop-demo`` (``make demo``): good, bad, evil, flaky and late workers count the words of Python's library, and the answer is compared with that of a plain pipe.
