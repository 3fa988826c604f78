"""One process from start to end: the entry script, the units it is given, the loop, and the spool of its results.

Knows nothing of retries, of other workers, of parts or of the driver: it says what happened, the instance decides.
"""
