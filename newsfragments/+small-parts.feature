An answer of very many small parts is sent, and summed, many parts at a time.
