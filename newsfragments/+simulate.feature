``hagoop-simulate`` runs the server's scheduler in virtual time against fleets that come and go, ten drawn and two real ones,
beside other schedulers (``compare``), as a picture (``--plot``), and on the lives of your own workers (``--from-log``).
