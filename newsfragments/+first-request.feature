The first request of a program learns faster: its first leases are ten times as large, and its jobs grow up to 64-fold.
