Two programs of a slot run at a time, whatever they do: a slot whose sorts are slow gets on with its next assignment, and jobs
are committed sooner.  Lines of programs that count are sorted faster, and combiners read a file as their stdin.
