"""Everything that a user of the feature jobs can get wrong.

::

    UserError                     console.py: one line on standard error, exit code 2
    ├── ContractError             contract.py
    └── SparkJobError
        ├── ViewUnknown           no view of this name is registered
        ├── SourceUnusable
        │   ├── SourceMissing     the folder or one of its tables is not there
        │   └── SourceMalformed   a file is not a CSV table with the columns expected
        ├── OutputRefused         the output folder can't be made, or holds somebody else's files
        ├── SparkUnavailable      pyspark or a Java that it can use is missing
        └── ViewBroken            the rows built are not what the view declares
"""

from __future__ import annotations

from console import UserError


class SparkJobError(UserError):
    """A feature job can't do what it was asked to."""


class ViewUnknown(SparkJobError):
    """No view of this name is registered."""


class SourceUnusable(SparkJobError):
    """The source tables can't be read."""


class SourceMissing(SourceUnusable):
    """The source folder, or a table in it, is not there."""


class SourceMalformed(SourceUnusable):
    """A source file is not a CSV table with the columns expected."""


class OutputRefused(SparkJobError):
    """The output folder can't be made, or holds files that no feature job wrote."""


class SparkUnavailable(SparkJobError):
    """PySpark, or a Java that it can use, is missing."""


class ViewBroken(SparkJobError):
    """The rows built are not what the view declares: nothing is written."""
