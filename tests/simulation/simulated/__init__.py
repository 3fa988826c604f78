"""A world in which the real core of a driver runs by virtual time, and everything around it fails by a seed.

It knows no process, no thread and no clock; files are the journal's own, in a folder in memory.
"""
