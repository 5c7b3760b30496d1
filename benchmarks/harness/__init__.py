"""Contenders in processes of their own that take turns; ratios, tables and JSON."""
