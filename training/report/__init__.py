"""The page a run leaves behind: one offline HTML file in English and Chinese, charts included."""

from training.report.page import write_report
from training.report.waterfall import waterfall_svg

__all__ = ["waterfall_svg", "write_report"]
