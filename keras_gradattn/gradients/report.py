"""Text reports."""


def training_report(record) -> str:
    return ""
