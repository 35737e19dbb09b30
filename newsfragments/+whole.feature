``--reduce-whole`` runs the reducer once over all keys; Hadoop's ``-numReduceTasks`` and ``-D mapreduce.job.reduces`` are understood.
