"""Contracts: what a compartment, a density and a noise distribution must keep to. Each has one check."""
