"""Generated from protos/runner/api/v1 by `make protos`; not written by hand."""
