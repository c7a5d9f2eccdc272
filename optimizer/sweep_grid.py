"""From a grid file to the cases of a sweep: everything named in it is loaded and checked before any work."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boards.board import System
from boards.catalog import list_systems, load_system
from boards.errors import DescriptionError, Fault, UnknownNameError
from boards.faults import fault_at, validate
from boards.yaml_tree import Node, read_tree
from optimizer.costs import CostTable
from optimizer.costs_io import load_costs
from optimizer.errors import CostError, InputError, LimitError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.problem import Limits
from optimizer.sweep_case import Case
from optimizer.sweep_schema import GridSpec, LimitSpec, SystemEntry

__all__ = ["Grid", "read_grid"]

_MAX_CASES = 10_000  # a page with more rows helps nobody
_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Grid:
    """A sweep as asked for. ``cases`` are in the file's order: models, systems, limits, preferences, seeds."""

    name: str
    path: Path
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class _Bench:
    system: System
    costs: tuple[CostTable, ...]


def read_grid(path: Path) -> Grid:
    """The grid in a file; paths in it are relative to it.

    Raises DescriptionError with file, line and key for what the file says wrong, also where a model, a system, costs
    and limits do not fit together; BoardsError or InputError for a file it names that cannot be used.
    """
    tree = read_tree(path)
    spec = validate(GridSpec, tree)
    faults = [*_repeated(spec, tree), *_too_many(spec, tree)]
    if faults:
        raise DescriptionError(faults)
    loader = _Loader(tree, path.parent)
    graphs = [loader.graph(i, source, spec.batch) for i, source in enumerate(spec.models)]
    benches = [loader.bench(i, entry) for i, entry in enumerate(spec.systems)]
    faults = [*loader.faults, *_alike(tree, benches)]
    if faults:
        raise DescriptionError(faults)
    cases = tuple(_cases(tree, spec, [g for g in graphs if g], [b for b in benches if b]))
    return Grid(spec.name or path.stem, path, cases)


class _Loader:
    """Loads what a grid names, and notes every name that stands for nothing."""

    def __init__(self, tree: Node, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.faults: list[Fault] = []

    def graph(self, index: int, source: str, batch: int) -> Graph | None:
        # From the root: workers may stand in another folder.
        model = source if source.startswith("zoo:") else str(self._path(source).absolute())
        try:
            return load_graph(model, batch)
        except InputError as e:
            self.faults.append(_fault(self.tree, ("models", index), e))
            return None

    def bench(self, index: int, entry: SystemEntry) -> _Bench | None:
        name = entry.system
        costs = self._costs(index, entry.costs or [])
        try:
            system = load_system(name if name in list_systems() or not self._is_file(name) else self._path(name))
        except UnknownNameError as e:
            expected = f"one of {', '.join(e.known)} or the path of a .yaml file, relative to this one"
            self.faults.append(
                fault_at(self.tree, ("systems", index), f"unknown system {name!r}", expected=expected, got=name)
            )
            return None
        return _Bench(system, costs)

    def _costs(self, index: int, names: Sequence[str]) -> tuple[CostTable, ...]:
        tables = []
        for name in names:
            try:
                tables.append(load_costs(self._path(name)))
            except InputError as e:
                self.faults.append(_fault(self.tree, ("systems", index, "costs"), e))
        return tuple(tables)

    def _is_file(self, name: str) -> bool:
        return name.endswith((".yaml", ".yml")) or "/" in name or self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / name


def _cases(tree: Node, spec: GridSpec, graphs: Sequence[Graph], benches: Sequence[_Bench]) -> Iterator[Case]:
    """Every combination, each checked to be a problem that can be posed."""
    faults: dict[tuple[_Path, str], Fault] = {}
    cases: list[Case] = []
    for graph in graphs:
        for b, bench in enumerate(benches):
            try:
                costs = _fitting(bench.costs, graph)
            except CostError as e:
                path: _Path = ("systems", b, "costs")
                faults[path, str(e)] = _fault(tree, path, e)
                continue
            for j, entry in enumerate(spec.limits):
                first = Case(
                    graph, bench.system, costs, _limits(entry), entry.name, spec.prefer[0], 0, spec.time_limit,
                    spec.non_contiguous, spec.replicate, spec.gap, spec.reproducible,
                )  # fmt: skip
                try:
                    first.problem()
                except LimitError as e:
                    faults[("limits", j), str(e)] = _fault(tree, ("limits", j), e, _pair(graph, bench))
                except InputError as e:
                    faults[("systems", b), str(e)] = _fault(tree, ("systems", b), e, _pair(graph, bench))
                cases += [first.variant(prefer, seed) for prefer in spec.prefer for seed in spec.seeds]
    if faults:
        raise DescriptionError(faults.values())
    yield from cases


def _fitting(tables: Sequence[CostTable], graph: Graph) -> CostTable | None:
    """The table for this model: one made for it, else one made for no model in particular."""
    if not tables:
        return None
    for wanted in (graph.sha256, None):
        for table in tables:
            if table.model_sha256 == wanted:
                return table
    raise CostError(
        f"no cost file was made for {graph.name}",
        expected=f"one for model sha256 {graph.sha256[:16]}",
        got=", ".join(str(t.model_sha256)[:16] for t in tables),
        hint="Give the cost files of all models as a list, or take this system out of the grid.",
    )


def _limits(spec: LimitSpec) -> Limits:
    return Limits(
        max_latency_s=spec.max_latency,
        min_throughput_per_s=spec.min_throughput,
        max_energy_j=spec.max_energy,
        max_ram_bytes=spec.max_ram,
        max_flash_bytes=spec.max_flash,
        pins=spec.pins,
        forbids=tuple((operator, board) for operator, boards in spec.forbid.items() for board in boards),
        colocations=tuple(tuple(names) for names in spec.colocate),
        rate_per_s=spec.rate,
        max_link_bytes=spec.max_link_bytes,
        max_boards=spec.max_boards,
    )


def _pair(graph: Graph, bench: _Bench) -> str:
    return f" ({graph.name} on {bench.system.name})"


def _fault(tree: Node, path: _Path, error: InputError, where: str = "") -> Fault:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return fault_at(tree, path, what + where, expected=error.expected, got=error.got, hint=error.hint)


def _repeated(spec: GridSpec, tree: Node) -> Iterator[Fault]:
    """Entries that stand twice would be rows that nobody can tell apart."""
    lists: dict[str, Sequence[Hashable]] = {
        "models": spec.models,
        "limits": [entry.name for entry in spec.limits],
        "prefer": spec.prefer,
        "seeds": spec.seeds,
    }
    for key, values in lists.items():
        for i, value in enumerate(values):
            if value in values[:i]:
                path = (key, i, "name") if key == "limits" else (key, i)
                yield fault_at(tree, path, f"{value!r} stands twice", expected="each entry once", got=str(value))


def _alike(tree: Node, benches: Sequence[_Bench | None]) -> Iterator[Fault]:
    names = [b.system.name if b else None for b in benches]
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            path = ("systems", i)
            yield fault_at(tree, path, "two systems of one name", expected="a `name:` of its own in each", got=name)


def _too_many(spec: GridSpec, tree: Node) -> Iterator[Fault]:
    count = len(spec.models) * len(spec.systems) * len(spec.limits) * len(spec.prefer) * len(spec.seeds)
    if count > _MAX_CASES:
        expected, got = f"at most {_MAX_CASES} cases", f"{count} combinations"
        yield fault_at(tree, (), "the grid is too large", expected=expected, got=got, hint="Split it into several.")
