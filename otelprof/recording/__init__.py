"""Profiles in files: how they are written, and everything that can be read back."""
