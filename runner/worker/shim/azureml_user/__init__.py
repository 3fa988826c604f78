"""Stands in for the package of this name that a parallel job's script can import."""
