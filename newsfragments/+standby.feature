While one job's program works, a worker makes ready the next one's folder, container and shell: only the program itself
is still to be started when its turn comes.  A job costs some 3 ms less its program's own start, where it was 14 ms.
