"""Norms of layer-output gradients that the published analysis judges by.

Source: Ghoshal & Buckchash (2026), gradient analysis of the released notebooks.
"""

VANISHING = 1e-6
EXPLODING = 10.0
