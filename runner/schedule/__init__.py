"""One job from plan to publication: what is lent to whom, what is committed, when the job must end.

Knows nothing of Ray, Arrow or gRPC: instances are handles, files are names, time is an argument.
"""
