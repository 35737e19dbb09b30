A lease is a worker's share of all that is not committed, not of what is not leased: nobody who asks late gets less and less. A third
fewer leases; where each job starts its program, requests end up to four points nearer to the optimum.
