"""Both files of a report."""

from __future__ import annotations

from pathlib import Path

from client.evaluation.folder import REPORT_FILE
from client.report.html import report_page
from client.report.report import Report
from qafm.files import whole_file, write_json

PAGE_FILE = "report.html"


def write_report(folder: Path, report: Report) -> None:
    """Write report.json and report.html into `folder`, each whole. Raises OSError."""
    write_json(folder / REPORT_FILE, report.as_json())
    with whole_file(folder / PAGE_FILE) as file:
        file.write(report_page(report).encode())
