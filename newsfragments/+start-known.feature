What a program takes to start is remembered from one request to the next: jobs are as long as pays from the beginning.
