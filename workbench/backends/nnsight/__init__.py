"""Forwards as nnsight traces, here or on NDIF's servers, where models run that are too large to load."""
