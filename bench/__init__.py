"""Benchmarks run from the checkout: `python -m bench`. The measuring itself is `deepcore.bench`, part of the wheel."""
