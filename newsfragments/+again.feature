The first leases of a program that comes again, in another request, are as large as any: the server remembers how fast it was, beside its workers.
