"""Profiles in object storage: four open tables, how they are written, kept small, and read."""
