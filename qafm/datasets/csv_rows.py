"""The lines of a CSV file that people write: UTF-8, a header first, and an error that names file and line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from qafm.errors import InvalidDataset


def csv_rows(file: Path, check_header: Callable[[list[str]], None]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The number of each line that is not empty, and its cells by column, without spaces around them.

    check_header: raises InvalidDataset for columns that are not those of such a file. Raises InvalidDataset where a
    line has more or fewer cells, and for a file that cannot be read.
    """
    try:
        # With or without the mark that spreadsheets put first.
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text, strict=True)
            header = [column.strip() for column in next(reader, [])]
            check_header(header)
            for row in reader:
                if len(row) not in (0, len(header)):
                    raise InvalidDataset(
                        f"{file}, line {reader.line_num}: expected {len(header)} columns as in line 1, got {len(row)}"
                    )
                if row:
                    yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))
    except OSError as error:
        raise InvalidDataset(f"{file}: cannot be read ({error.strerror}); expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{file}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise InvalidDataset(f"{file}, line {reader.line_num}: not a CSV file: {error}") from error
