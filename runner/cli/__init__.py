"""The command line: each verb parses, calls the client and renders.

Knows nothing of how a job runs; whatever it shows, a client of the service could show too.
"""
