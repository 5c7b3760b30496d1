"""Which faults the diagnosis finds, and which healthy trainings it alarms about.

python -m studies.diagnosis [--half tuning|release|real] [--backend torch]
"""
