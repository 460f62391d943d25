"""The version of this workbench, as plans and manifests carry it."""

__version__ = "0.1.0"
