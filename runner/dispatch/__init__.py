"""The native core: the ledger through which workers share a lease, and the loop that claims, calls and counts.

Knows integers, buffers and callables only; nothing of jobs, files or the rest of the runner.
"""
