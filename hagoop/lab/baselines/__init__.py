"""Other schedulers, on the same lives: what HaGoop is compared with."""
