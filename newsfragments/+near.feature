Workers on the server's machine read a streaming program's input where it is, instead of fetching a copy.
