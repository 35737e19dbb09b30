``hagoop-simulate --without PART`` takes parts of the scheduler away; what each is worth is in ``docs/scheduling.rst``.
