"""The `client` command: what it can do, and how it ends."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from client.commands.bench import measure_load
from client.commands.compare import compare_reports
from client.commands.connection import Connection, connected
from client.commands.console import say_error
from client.commands.describe import describe_images
from client.commands.embed import embed_folder
from client.commands.evaluate import evaluate_server
from client.commands.exit_codes import BAD_INPUT, exit_code
from client.commands.score import score_descriptors
from client.commands.search import search_person
from qafm.errors import QafmError

# `--help` loads every one of these modules. So they import what takes long to load, such as NumPy and gRPC, in their
# functions, and do without `from __future__ import annotations`: typer would evaluate each annotation several times.


class _Commands(TyperGroup):
    """Reads options before the name of a command only where there are some.

    Even to find that an option is not given, typer loads pydantic: half of the time of `client COMMAND --help`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] in self.commands:
            self.params, self.add_help_option = [], False
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"qafm {version('qafm')}")
        raise typer.Exit


@app.callback()
@connected
def client(
    connection: Connection,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Describe people with a QAFM server, and evaluate it.

    The options that say how to reach the server can stand before or after the name of a command. What stands after it
    wins; headers add up.
    """


app.command("eval")(evaluate_server)
app.command("describe")(describe_images)
app.command("embed")(embed_folder)
app.command("search")(search_person)
app.command("score")(score_descriptors)
app.command("compare")(compare_reports)
app.command("bench")(measure_load)


def main() -> None:
    """Run the command, and say an error in one sentence."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own words about a connection come before ours
    try:
        app(prog_name="client")
    except QafmError as error:
        say_error(str(error))
        sys.exit(exit_code(error))
    except OSError as error:
        say_error(str(error))
        sys.exit(BAD_INPUT)
