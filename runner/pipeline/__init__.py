"""Runs the steps of a pipeline: which is decided on when, reused or started, stopped, resumed, and how it all ends.

It refuses to know what a step does: a step is a job with a driver, a lock and a row of the store.
"""
