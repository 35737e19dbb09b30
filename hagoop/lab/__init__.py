"""The churn lab: the server's own ledger and policy against fleets that live in virtual time."""
