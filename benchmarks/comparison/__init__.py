"""What the benchmark `peers` is made of: simulated data, environments, errors, and one script for each peer.

In: jaxsmt and NumPy. Out: arrays for the scripts, and figures from what they estimate. The scripts run in processes of
their own, in the environment of their peer, and import nothing of jaxsmt.
"""
