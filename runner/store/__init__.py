"""Keeps jobs and their events in SQLite under the runner's home, and knows where everything in that home lies.

Refuses to know what a job does: it has statuses, times and JSON, never a plan, a lease, a message of the wire or YAML.
"""
