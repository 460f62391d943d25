"""Where forwards run: in this process through hooks (native), in nnsight's traces here or on NDIF, on an engine that serves."""
