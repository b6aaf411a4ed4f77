"""Many subjects: the two levels of `jaxsmt bids`.

In: a data set, for the group level the one that the participant level has written. Out: maps of every series;
tables of the group and a page that says which series differ from the others.
The way of the group level, which reads finished maps and loads no JAX: `group` → `written` (which series there are) →
`summary` (numbers of one, in the voxels of `regions`) → `comparison` and `outliers` → `group_tables`, `group_page`.
"""
