A failure is narrowed down: what failed is tried again in halves, so that the sentence of a request that fails names
few lines.  A worker is not put aside for lines on which others fail too, and work behind such lines is not held up.
