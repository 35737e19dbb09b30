A program that comes again, in another request, is not tried line by line before it is given more: workers remember how fast it was.
