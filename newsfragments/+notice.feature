``hagoop-worker --until TIME``, ``--hours 22-7``, ``--idle-only`` and SIGUSR2 (with ``--notice SECONDS``): a worker that says in time
when it leaves or rests is leased what fits, gives the rest away at once, and comes again by itself.  ``--grace SECONDS``
says how long jobs in hand may still take; a second SIGTERM ends at once.  ``docs/workers.rst`` tells how.
