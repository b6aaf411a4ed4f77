"""Many subjects: data sets in, a derivative data set out.

In: a folder that is raw BIDS, QSIPrep's derivatives, or laid out as the HCP's or UK Biobank's. Out: maps, reports and
logs of every series, in BIDS.
The way of a run: `participants` → `layouts` and `selection` (which series) → `dataset` (what describes the output) →
`tasks` (a series) → `workflow`, in this process or in those of `cluster`.
"""
