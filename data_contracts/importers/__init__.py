"""Price histories from elsewhere as a market folder: ``bars, instruments, sessions, rates``.

========================================= =================================================
``import_market(files, fmt, out)``        Parquet and CSV files in one of ``FORMATS``
``write_sample_market(out)``              the bundled sample: 20 US stocks and an index
========================================= =================================================

What a source cannot hold exactly is counted in the report; what it does not hold is null.
"""

from data_contracts.importers.market import import_market
from data_contracts.importers.report import FORMATS, ImportReport, Progress
from data_contracts.importers.sample import write_sample_market

__all__ = ["FORMATS", "ImportReport", "Progress", "import_market", "write_sample_market"]
