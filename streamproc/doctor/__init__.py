"""What is wrong with this machine, this broker, these settings: `streamproc doctor`, listed in docs/health.md."""

from streamproc.doctor.examine import examine
from streamproc.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
