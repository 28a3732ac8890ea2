"""Everything that moto knows, on disk: saved as it changes, restored at start."""
