"""Measure: how good readers, detectors and edits are, on people they were not trained on."""
