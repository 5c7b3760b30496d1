"""TFDS builder for PAD-UFES-20."""
