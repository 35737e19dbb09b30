What the server's disk loses of a request (a run that is gone or damaged, a part of its answer) is made again; damaged uploads and answers are told in a sentence, and no wrong byte is given.
