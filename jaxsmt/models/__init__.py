"""Models of the spherical means: sums of compartments, links, coordinates, priors, and what a scheme determines.

In: compartments and links. Out: a `SphericalMeanModel`, its signal, its Fisher information.
Imports `physics` and what is below it.
"""
