"""What every operator promises, tried on one: for authors of operators, built in or of other packages.

    from streamproc.contract import check, failures

    assert not failures(check(ROWS[0]))

It needs no test framework; `streamproc operators test` prints what it finds.
"""

from streamproc.contract.checks import Verdict, check, failures
from streamproc.contract.finding import Subjects, subjects_of

__all__ = ["Subjects", "Verdict", "check", "failures", "subjects_of"]
