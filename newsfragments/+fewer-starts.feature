Programs that start slowly, such as those in Python, are started less often: a request of 36 MB with a Python word count takes 0.6 of the time.
