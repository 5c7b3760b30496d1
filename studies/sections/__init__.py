"""The sections of the report, each with its table and its picture."""
