"""Jobs as their users write them: YAML and Python objects, what is wrong with them and where, what they mean resolved.

Knows nothing of plans, stores, clusters or the wire: it reads files, imports no user code, and starts nothing.
"""
