"""Editing: from what is asked of a face to the pixels of the edited photo."""
