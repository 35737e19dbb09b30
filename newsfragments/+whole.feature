``--map-whole`` runs the mapper once per file, ``--reduce-whole`` the reducer once over all keys; Hadoop's
``-numReduceTasks`` and ``-D mapreduce.job.reduces`` are understood.
