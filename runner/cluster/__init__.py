"""Where instances live: this process or Ray actors; the only room that imports ray, and keeper of the embedded one.

Refuses to know what a mini-batch is, what a lease means and when a job is done: it places, carries and buries.
"""
