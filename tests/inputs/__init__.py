"""Everything that may be given to the program and should not: a table of cases, tried and written down."""
