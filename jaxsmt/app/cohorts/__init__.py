"""Many subjects: the two levels of `jaxsmt bids`.

In: a data set, for the group level the one that the participant level has written. Out: maps of every series;
tables of the group and a page that says which series differ from the others.
Imports its sister modules of `app` and what they import; only the command line imports it. The group level reads
finished maps and loads no JAX.
"""
