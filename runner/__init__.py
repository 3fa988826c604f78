"""The public names, loaded when first used, so that importing any room stays light."""

__version__ = "0.1.0"
