"""`jaxsmt simulate`: phantoms as files.

In: the options of the command. Out: a series with its gradient table, mask and truth, or a BIDS data set of several
subjects. Imports no JAX.
"""
