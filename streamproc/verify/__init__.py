"""The promise judged from outside: a producer's ledger against what the log holds."""

from streamproc.verify.judge import judge
from streamproc.verify.look import verify
from streamproc.verify.verdict import Finding, Verdict

__all__ = ["Finding", "Verdict", "judge", "verify"]
