"""The programs: command line, requests, workflow, doctor.

In: the command line's words. Out: an exit code, and files in the output folder.
Imports every other room; none imports it.
"""
