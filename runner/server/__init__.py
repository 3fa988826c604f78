"""The operations on jobs, and the gRPC service that offers them; both the embedded client and the service use the same.

Refuses to know how a job is run: it is handed a function that starts a driver, and never sees Ray, a plan or a lease.
"""
