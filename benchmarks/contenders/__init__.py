"""One program per contender; each does the same work: read three columns, add two, write id and result as Parquet."""
