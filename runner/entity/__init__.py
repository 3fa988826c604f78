"""The nouns of a job: what is planned, lent, reported, stored; with the table of statuses.

Knows nothing but the standard library: no disk, no Arrow, no Ray, no SQL.
"""
