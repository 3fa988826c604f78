"""One node's share of a job: lends its workers a lease, watches over them, and makes parts of what they leave.

Knows nothing of Ray, of the journal, of thresholds or of other instances: leases in, reports and signs of life out.
"""
