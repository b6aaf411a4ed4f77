"""Compartments."""
