"""Data: from sets of photos, or from nothing, to the samples that methods learn from."""
