"""Data in and out: list and read inputs, flush segments, make parts and publish them.

Knows nothing of workers, leases, jobs' statuses or Ray: paths, plans and rows in; slabs, parts and files out.
"""
