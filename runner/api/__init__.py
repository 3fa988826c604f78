"""The wire: generated messages of `runner.api.v1`, entities as messages, errors as `google.rpc.Status`.

Refuses to know where a job comes from: it opens no store, no file and no connection.
"""
