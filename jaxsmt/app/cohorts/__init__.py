"""Many subjects: data sets in, a derivative data set out, and what its series are together.

In: a folder that is raw BIDS, QSIPrep's derivatives, or laid out as the HCP's or UK Biobank's. Out: maps, reports and
logs of every series, in BIDS; tables of the group and a page that says which series differ from the others.
The way of the participant level: `participants` → `layouts` and `selection` (which series) → `dataset` (what describes
the output) → `tasks` (a series) → `workflow`, in this process or in those of `cluster`.
The way of the group level, which reads finished maps and loads no JAX: `group` → `written` (which series there are) →
`summary` (one series, in voxels of `models.regions`) → `comparison` and `outliers` → `group_tables`, `group_page`.
"""
