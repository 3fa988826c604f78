"""Joins the concrete parts: the client with its back end, the driver with its cluster.

The only room that knows both Ray and gRPC. It has a module for each program, so that each loads only its own side:
`python -m runner.compose drive NAME` is a driver, and loads neither the client nor the service.
"""
