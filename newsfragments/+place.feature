Programs of the original interface read a file where it is, from byte OFFSET on, on every worker that sees the very file that the server reads; only other workers get copies of the lines.
