"""Cuts listed input into units and mini-batches, numbered once and for ever.

Knows nothing of memory, cores, workers or Ray: the same data and the same sizes give the same plan on every machine.
"""
