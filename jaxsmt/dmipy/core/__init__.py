"""Acquisition schemes, models and fits."""
