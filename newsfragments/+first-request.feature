The first request of a program learns faster: its first leases are ten times as large, its jobs grow up to 64-fold, and
a reducer begins with what its combiner did in a sixteenth of a second.
