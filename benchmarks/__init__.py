"""What the pipeline costs, in a unit that moves with the machine: ``python -m benchmarks``.

A module of this package with a tuple ``CASES`` of `benchmarks.unit.Case` is a subject; it needs no
other registration.
"""
