"""The folder of a report: one evaluation at a time writes there, and always of the same dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.evaluation.identity import DatasetIdentity
from qafm.errors import InvalidSettings
from qafm.files import alone_in

REPORT_FILE = "report.json"
REPORT_FORMAT = 2
"""Format 1, or a report without a number, has no `model` and no `dataset`."""


@contextmanager
def report_folder(folder: Path, dataset: DatasetIdentity, root: Path) -> Iterator[None]:
    """Hold a folder, made if missing, from the first description to the last file of a report.

    dataset, root: what is evaluated. Raises InvalidSettings where another evaluation holds the folder, or a report of
    another dataset is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder) as alone:
        if not alone:
            raise InvalidSettings(
                f"{folder}: another evaluation is writing there; wait for it, or choose another --report"
            )
        _require_same_dataset(folder / REPORT_FILE, dataset, root)
        yield


def _require_same_dataset(path: Path, dataset: DatasetIdentity, root: Path) -> None:
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        number = content.get("format", 1)
        if number == 1:
            same = Path(content["data"]).resolve() == root.resolve()
        else:
            same = number == REPORT_FORMAT and dataset.same(DatasetIdentity.read(content["dataset"]))
        name = content["data"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSettings(
            f"{path}: expected a report of this client, got something else ({error!r}); choose another --report"
        ) from error
    if number not in (1, REPORT_FORMAT):
        raise InvalidSettings(
            f"{path}: is a report of format {number!r}, of a newer version of this client; choose another --report"
        )
    if not same:
        raise InvalidSettings(
            f"{path}: is the report of another dataset, {name}; choose another --report, or delete that one"
        )
