"""Attention across depth, and gradients one can see, for Keras 3."""
