"""Which scores find the experts that carry a behaviour, and which predict what switching an expert off does."""
