"""What the gates of an export measured, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.fast_check import BOUNDS
from export.quality_check import misleading


def print_gates(manifest: Mapping[str, Any], console: Console) -> None:
    """Tables, and warnings of what is not to be trusted. manifest: the content of one."""
    console.print(_parity_table(manifest))
    if "fidelity" in manifest:
        console.print(_fidelity_table(manifest))
    if (openvino := manifest["openvino"]) and not openvino["installed"]:
        console.print(
            "[bold red]warning:[/] OpenVINO fails its gate, so its variant is not installed: "
            f"{escape(openvino['reason'])}",
            soft_wrap=True,
        )
    if manifest["quality"]:
        console.print(_quality_table(manifest["quality"]))
        for warning in misleading(manifest["quality"]):
            console.print(f"[bold red]warning:[/] {warning}. Do not trust it there.")
    if fast := manifest["fast"]:
        console.print(_fast_table(fast))
        if not fast["installed"]:
            console.print(
                "[bold red]warning:[/] one look does not say what the 35 views say: no quality and no qafm_fast is "
                "installed. More pictures to learn from may mend it: quality.pictures in the preset",
                soft_wrap=True,
            )


def _parity_table(manifest: Mapping[str, Any]) -> Table:
    table = Table("output", "largest difference", "allowed", title="ONNX Runtime against PyTorch")
    for name, difference in manifest["differences"].items():
        relative = " of the largest value" if difference["relative"] else ""
        table.add_row(name, f"{difference['measured']:.1e}{relative}", f"{difference['allowed']:.0e}")
    return table


def _fidelity_table(manifest: Mapping[str, Any]) -> Table:
    fidelity, trained_on = manifest["fidelity"], "held_out_trained_on" in manifest["origin"].get("data", {})
    dialects = [name for name in fidelity if name != "images"]
    people = "images that were trained on" if trained_on else "held-out images"
    table = Table("measure", *dialects, "expected", title=f"Against float32, on {fidelity['images']} {people}")
    for measure, judged in fidelity[dialects[0]].items():
        values = [f"{fidelity[dialect][measure]['measured']:.4g}" for dialect in dialects]
        table.add_row(measure, *values, judged["expected"])
    return table


def _fast_table(fast: Mapping[str, Any]) -> Table:
    table = Table("measure", "found", "expected", title=f"One look against 35 views, on {fast['pictures']} pictures")
    for name in BOUNDS:
        table.add_row(name, f"{fast[name]['measured']:.4g}", fast[name]["expected"])
    return table


def _quality_table(quality: Mapping[str, Any]) -> Table:
    kinds = {kind: about for kind, about in quality.items() if kind != "discard"}
    signals = next(iter(kinds.values()))["spearman"]
    title = "What quality tells: rank correlation with how badly a picture is degraded; 1 is best"
    table = Table("kind", "pictures", *signals, title=title)
    for kind, about in kinds.items():
        told = ("" if value is None else f"{value:+.2f}" for value in about["spearman"].values())
        table.add_row(kind.replace("_", " "), str(about["n"]), *told)
    return table
