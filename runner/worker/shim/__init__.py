"""A folder that workers put on `sys.path`: modules that scripts import by names that are not ours."""
