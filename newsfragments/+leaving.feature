A worker that is stopped (SIGTERM) gives back at once what it has not begun, commits the job in hand if that takes
no more than five seconds, and leaves without a loss on its record.
