"""Where instances live: in the driver's process or as Ray actors; the only room that imports ray, and keeps the embedded one.

Refuses to know what a mini-batch is, what a lease means and when a job is done: it places, carries and buries.
"""
