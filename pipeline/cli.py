"""The `neurocube` command: parses words, hands a job to a verb, shows progress."""

import contextlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dask.config
import typer
import typer.core
from rich.console import Console
from rich.table import Table

# torch, distributed and matplotlib take seconds to import: each command brings what it needs by itself.
from pipeline import faults
from pipeline.terminal import Terminal, bar, console
from stores import StoreError, catalog, open_cube, verify
from stores.place import Place

if TYPE_CHECKING:
    from pipeline.cluster import ClusterConfig
    from pipeline.study import Run


class _Commands(typer.core.TyperGroup):
    """The commands; Ctrl-C ends one in one line, before Typer ends it in none."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with faults.interruptible():
            return super().invoke(ctx)


app = typer.Typer(
    name="neurocube",
    cls=_Commands,
    help="Brains, networks and behaviour as labelled cubes, compared out of core on Dask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"neurocube {version('neurocube')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command; `main` reads --debug by itself."""


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Give a variable its value.")
    ] = None,
    cluster_file: Annotated[Path | None, typer.Option("--cluster", help="A cluster file.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the cluster file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; run nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make every cube of the study anew.")
    ] = False,
) -> None:
    """Do what is missing of a study, in order; the same command again resumes after any kill."""
    from pipeline import cluster
    from pipeline.study import Run, check, read_study
    from pipeline.study.plan import plan_lines

    asked = read_study(study, settings or ())
    _require_shared(asked.store)
    config = cluster.read(cluster_file)
    planned = check(asked)
    if dry_run:
        found = cluster.expected(config, profile)
        for line in plan_lines(asked, planned, found=found, overwrite=overwrite):
            console.print(line)
        console.print(cluster.describe(config, profile))
        return
    with Terminal() as terminal:
        job = Run(asked, terminal, overwrite=overwrite)
        pages = execute(job, terminal, config, profile, study.stem)
    for page in pages:
        console.print(f"report: {page}")


def execute(
    job: "Run", terminal: Terminal, config: "ClusterConfig", profile: str | None, name: str
) -> list[str]:
    """Run a study on its cluster, keeping Dask's performance report beside the results."""
    from pipeline import cluster
    from pipeline.study import run_study

    beside = (Place.of(job.study.store).local or Path.cwd()) / f"{name}-dask.html"
    with cluster.start(config, profile) as client:
        if link := cluster.dashboard_link(client):
            console.print(f"dashboard: {link}")
        job.client = client
        beside.parent.mkdir(parents=True, exist_ok=True)
        with cluster.performance_report(client, beside, wanted=lambda: terminal.made_any):
            pages = run_study(job)
    if terminal.made_any:
        console.print(f"performance report: {beside}")
    return pages


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("demo"),
    cluster_file: Annotated[Path | None, typer.Option("--cluster", help="A cluster file.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the cluster file.")] = None,
) -> None:
    """Simulate two subjects with planted facts, analyse them from images to report, and say what was found."""
    from pipeline import cluster
    from pipeline.demo import run_demo

    with Terminal() as terminal:
        found = run_demo(folder, cluster.read(cluster_file), profile, terminal)
    raise typer.Exit(0 if found else 1)


@app.command()
def readers() -> None:
    """List the datasets and layouts that can be imported, with the files each reader expects."""
    from stores.readers import READERS
    from stores.readers.request import in_words, options_of, takes_pickles

    for name, one in sorted(READERS.items()):
        console.print(name, style="bold")
        console.print(f"  {one.doc}\n  expects: {', '.join(one.expects)}")
        if told := [f"{option} ({in_words(kind)})" for option, kind in options_of(one).items()]:
            console.print(f"  options: {', '.join(told)}")
        if takes_pickles(one):
            console.print("  published as pickles: needs --allow-pickle")


@app.command(name="import")
def import_(
    reader: Annotated[str, typer.Argument(help="A reader, as `neurocube readers` lists it.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="The dataset's folders or files.")],
    into: Annotated[str, typer.Option(help="ROOT/NAME: the cubes become NAME/... in the store ROOT.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the reader.")
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read pickled files, in a process that knows arrays alone."),
    ] = False,
    cluster_file: Annotated[Path | None, typer.Option("--cluster", help="A cluster file.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the cluster file.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be imported; write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make the cubes anew.")] = False,
) -> None:
    """Import a dataset into a store; the same command again resumes after any kill."""
    from pipeline import cluster
    from pipeline.study import Run, Study, described, import_cubes, is_big
    from stores.readers import request

    wanted = request.request(reader, paths, request.words(settings or ()), allow_pickle=allow_pickle)
    root, _, name = into.rstrip("/").rpartition("/")
    if not root or not name:
        raise StoreError(f"--into {into!r} is not ROOT/NAME, such as my-store/things-fmri")
    _require_shared(root)
    config = cluster.read(cluster_file)
    config.profile(profile)  # a wrong name is told before files are read
    with console.status(f"{reader} reads what is there"):
        cubes = request.read(wanted)
    for line in described(cubes):
        console.print(line)
    if dry_run:
        return
    step = {"verb": "import", "reader": reader, "path": [str(path) for path in paths], "into": name}
    study = Study.model_validate({"title": "import", "store": root, "steps": {"import": step}})
    with contextlib.ExitStack() as stack:
        job = Run(study, stack.enter_context(Terminal()), overwrite=overwrite)
        if any(is_big(cube) for cube in cubes.values()):
            job.client = stack.enter_context(cluster.start(config, profile))
            if link := cluster.dashboard_link(job.client):
                console.print(f"dashboard: {link}")
        console.print(f"{len(import_cubes(job, wanted, cubes, name))} cubes in {root}")


@app.command(name="catalog")
def catalog_(root: Annotated[str, typer.Argument(help="A store: a folder or an fsspec URL.")]) -> None:
    """List every cube and result of a store."""
    found = catalog(root)
    table = Table(box=None, pad_edge=False)
    for column in ("name", "modality", "sizes", "dtype", "MB", "complete"):
        table.add_column(column, justify="right" if column == "MB" else "left", no_wrap=True)
    for name, row in found.iterrows():
        done = "yes" if row["complete"] else "no"
        table.add_row(
            str(name), row["modality"], row["sizes"], row["dtype"], f"{row['bytes'] / 1e6:.2f}", done
        )
    Console(width=max(console.width, 200) if not sys.stdout.isatty() else None).print(table)
    console.print(f"{len(found)} cubes, {found['bytes'].sum() / 1e6:.1f} MB")


@app.command()
def layers(
    name: Annotated[str, typer.Argument(help="A network, such as torchvision:alexnet.")],
    weights: Annotated[str | None, typer.Option(help="A weights file, or 'pretrained'.")] = None,
) -> None:
    """List the layers of a network that can be tapped, in order of execution."""
    from pipeline import models

    # Names and shapes do not depend on weights: without a file, an untrained twin answers.
    network = models.load(name, weights=weights, untrained_seed=None if weights else 0)
    table = Table(box=None, pad_edge=False)
    for column in ("layer", "type", "shape", "units"):
        table.add_column(column, justify="right" if column == "units" else "left", no_wrap=True)
    for info in models.layers(network):
        count = 1
        for size in info.shape:
            count *= size
        table.add_row(info.name, info.type, " x ".join(map(str, info.shape)), f"{count:,}")
    Console(width=max(console.width, 160) if not sys.stdout.isatty() else None).print(table)


@app.command()
def show(
    root: Annotated[str, typer.Argument(help="A store.")],
    name: Annotated[str, typer.Argument(help="A cube or result, as `catalog` lists it.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print a result as a tidy table.")] = False,
) -> None:
    """Say in words what a cube or result is, or print a result as a table."""
    from pipeline import report

    array = open_cube(root, name)
    if not csv:
        console.print(report.words(array))
        return
    try:
        table = report.table(array)
    except ValueError as fault:
        raise StoreError(f"{name}: {fault}") from fault
    sys.stdout.write(table.to_csv(index=False))


@app.command(name="verify")
def verify_(root: Annotated[str, typer.Argument(help="A store.")]) -> None:
    """Read every byte of a store again and name what is wrong; exit code 1 if anything is."""
    with bar() as shown:
        tasks: dict[str, Any] = {}

        def heard(cube: str, done: int, total: int) -> None:
            if cube not in tasks:
                tasks[cube] = shown.add_task(cube, total=total, written="")
            shown.update(tasks[cube], completed=done)

        faults = verify(root, progress=heard)
    for fault in faults:
        console.print(str(fault))
    if faults:
        console.print(f"{len(faults)} faults")
        raise typer.Exit(1)
    begun = int((~catalog(root)["complete"]).sum())
    note = f"; {begun} not complete, and not checked" if begun else ""
    console.print(f"{len(tasks)} cubes are sound{note}")


def _require_shared(root: str) -> None:
    if Place.of(root).url.startswith("memory:"):
        raise StoreError(
            f"the store {root} lies in the memory of one process, which worker processes cannot see; "
            "name a folder, or a URL that they reach too"
        )


def main() -> None:
    """Entry point of the command."""
    words = [word for word in sys.argv[1:] if word != "--debug"]  # it may stand anywhere
    debug = len(words) < len(sys.argv) - 1
    # What Dask's config says of logging, workers keep to; else failed tasks, which are told here, are not logged.
    logging = {"logging": {"distributed.worker": "warning"}} if debug else {}
    with dask.config.set(logging), faults.told(debug):
        app(words, prog_name="neurocube")
