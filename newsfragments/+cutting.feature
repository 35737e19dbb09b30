Jobs whose lines turn out heavier than expected are cut while they run: the program is fed no more and ends with what it got.
So other workers can take over the rest, and a worker that leaves delivers what it has done.
