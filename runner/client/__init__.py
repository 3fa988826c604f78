"""The client in Python: creates, lists, watches and downloads jobs, here or behind a service, with one set of calls.

Refuses to know which: it speaks to a back end by its interface. No stub and no type of gRPC leaves this room.
"""
