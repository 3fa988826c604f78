"""Makes processes die, and file systems lie, at chosen operations. Knows nothing of what the processes are for."""
