"""Models of the spherical means: sums of compartments, links, coordinates, priors, and what a scheme determines.

In: compartments and links. Out: a `SphericalMeanModel`, its signal, its Fisher information, its diagram.
Imports `physics` and what is below it.

A `SphericalMeanModel` is put together: `structure` knows compartments and links, `coordinates` how a search moves
within bounds, `runtime` what is passed to compiled programs, `definition` what users fix, bound and start. `presets`
has a file for each model that comes with jaxsmt. `regions` tells white
matter, grey matter and fluid by the maps of a model.
"""
