"""Text reports."""


def training_report(record) -> str:
    return ""


def flow_report(flow) -> str:
    return ""
