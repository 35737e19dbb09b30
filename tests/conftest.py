"""For all tests: how Hypothesis searches."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure, and an example that failed is told in a form that can be replayed.
settings.register_profile(
    "hagoop", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hagoop")
