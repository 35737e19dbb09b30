The tail knows how long sorting and combining take after a program: who is in its last job gives away more, and who only sorts helps
others.
