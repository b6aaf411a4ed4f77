"""Bundles of compartments."""
