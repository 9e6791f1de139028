"""What the report says, as headings, sentences and tables of text; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.board import contrasttext as words
from harness.board import text
from harness.board.contrasts import Contrast, Contrasts, Side
from harness.board.report.forest import Panel, Whisker
from harness.board.rows import Row, device_hours
from harness.canonical import canonical

_SHORT = 12


@dataclass(frozen=True)
class Table:
    """Cells of text below heads; the first cell of a line names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[str] = ()
    """`+`, `-`, `=` or `?` of each line, where it has one."""


@dataclass(frozen=True)
class Versus:
    """One comparison: what it is, its figure and its numbers."""

    title: str
    claim: str
    panel: Panel
    table: Table
    about: Sequence[str]


@dataclass(frozen=True)
class Content:
    """The report."""

    title: str
    arms: Table
    shared: Table
    differing: Sequence[str]
    data: Table
    scores: Table
    comparisons: Sequence[Versus]
    legend: Sequence[str]
    outcomes: Table
    provenance: Table
    packages: Table


def content(made: Contrasts, rows: Sequence[Row]) -> Content:
    """Everything but the methods. `rows` are those of the sides."""
    by_id = {row.id: row for row in rows}
    ordered = [(side, by_id[side.row]) for side in made.sides]
    return Content(
        title=_title(made),
        arms=_arms(ordered),
        shared=_shared(made, rows),
        differing=list(_differing(ordered)),
        data=_data(ordered),
        scores=_scores(made, ordered),
        comparisons=[_versus(made, one) for one in made.contrasts],
        legend=list(words.legend(made)),
        outcomes=_outcomes(ordered),
        provenance=_provenance(ordered),
        packages=_packages(rows),
    )


def _title(made: Contrasts) -> str:
    suite = made.suite if made.suite_version is None else f"{made.suite} {made.suite_version}"
    return f"{' · '.join(side.label for side in made.sides)} on {suite}"


# --- what was compared ----------------------------------------------------------------------------------------------


def _arms(ordered: Sequence[tuple[Side, Row]]) -> Table:
    head = ("arm", "methods", "budget", "seeds", "examples", "tokens", "took")
    rows = []
    for side, row in ordered:
        result, spent = row.result, device_hours(row.measured.jobs)
        trained = any(seed.stages for seed in result.seeds)
        rows.append(
            (
                side.label,
                ", ".join(_plugin(plugin.name, plugin.version, plugin.options) for plugin in result.plugins),
                f"matched, {result.match}" if result.match else "its own epochs" if trained else "not trained",
                ", ".join(map(str, side.seeds)),
                f"{result.examples_seen():,.0f}",
                f"{result.tokens_seen():,.0f}",
                "" if spent is None else text.spent(spent),
            )
        )
    return Table(head, rows)


def _plugin(name: str, version: str, options: Mapping[str, Any]) -> str:
    said = ", ".join(f"{option}={_plain(value)}" for option, value in options.items())
    return f"{name} {version} ({said})" if said else f"{name} {version}"


def _shared(made: Contrasts, rows: Sequence[Row]) -> Table:
    """What all arms have in common, or where they do not, all there is."""
    facts = {
        "base model": [_model(row.result.model) for row in rows],
        "chat template": [str(row.result.model.get("template_digest") or "") for row in rows],
        "engine": [_settings(row.result.engine) for row in rows],
        "recipe": [row.result.recipe_sha256 for row in rows],
    }
    said = [(name, " and ".join(dict.fromkeys(filter(None, values)))) for name, values in facts.items()]
    said += [("suite", f"{made.suite}, {made.suite_sha256}")]
    return Table(("", "all arms"), [(name, value) for name, value in said if value])


def _model(model: Mapping[str, Any]) -> str:
    named = [model.get("id") or "", f"at {model['revision']}" if model.get("revision") else ""]
    named += [f"content {model['content']}" if model.get("content") else ""]
    if model.get("init"):
        named.append(f"made on the spot: {_settings(model['init'])}")
    if model.get("parameters"):
        named.append(f"{model['parameters']:,} parameters")
    return ", ".join(filter(None, named))


def _differing(ordered: Sequence[tuple[Side, Row]]) -> Iterator[str]:
    """Each setting in which an arm differs from the arm of its run that it was compared with."""
    for side, row in ordered:
        if row.measured.differs:
            said = ", ".join(f"{name}: {_plain(value)}" for name, value in row.measured.differs.items())
            yield f"{side.label} differs from {row.measured.baseline} in {said}."


def _data(ordered: Sequence[tuple[Side, Row]]) -> Table:
    found: dict[tuple[str, ...], list[str]] = {}
    for side, row in ordered:
        for data in row.result.data:
            n = "" if data.n is None else f"{data.n:,}"
            key = data.name, data.role, _source(data.source), n, (data.content or "")[:_SHORT]
            found.setdefault(key, []).append(side.label)
    everyone = len(ordered)
    rows = [(*key, "all" if len(of) == everyone else ", ".join(of)) for key, of in found.items()]
    return Table(("data", "role", "source", "examples", "SHA-256", "arms"), rows)


def _source(source: Any) -> str:
    if isinstance(source, dict) and "hub" in source:
        return f"{source['hub']}{'@' + source['revision'] if source.get('revision') else ''}"
    return _settings(source) if isinstance(source, dict) else _plain(source)


# --- what was found -------------------------------------------------------------------------------------------------


def _scores(made: Contrasts, ordered: Sequence[tuple[Side, Row]]) -> Table:
    heads = [_head(name, column.out_of, column.higher_is_better) for name, column in made.benchmarks.items()]
    rows = []
    for side, row in ordered:
        stands = f"{side.rank_low}-{side.rank_high}" if side.rank else ""
        tasks = [row.result.tasks[name] for name in made.benchmarks]
        whole = _with_interval(words.score(side.composite, text.WHOLE), text.interval(side.interval))
        cells = [
            _with_interval(words.score(task.score, task.out_of), text.interval(task.interval, task.out_of))
            for task in tasks
        ]
        rows.append((side.label, stands, whole, *cells))
    return Table(("arm", "ranks", text.COMPOSITE, *heads), rows)


def _head(name: str, out_of: float, higher_is_better: bool) -> str:
    said = [text.out_of(out_of), "" if higher_is_better else "lower is better"]
    return ", ".join(filter(None, [name, *said]))


def _with_interval(score: str, interval: str) -> str:
    return f"{score} {interval}".strip() or text.NONE


def _versus(made: Contrasts, one: Contrast) -> Versus:
    sides = {side.row: side for side in made.sides}
    arm, base = sides[one.arm], sides[one.base]
    lines = list(words.rows(made, one, arm, base))
    title = f"{arm.label} against {base.label}"
    heads = [
        _head(name, scale, name not in made.benchmarks or made.benchmarks[name].higher_is_better)
        for name, scale, *_ in lines
    ]
    rows = [
        (
            head,
            words.score(score, scale),
            words.score(other, scale),
            f"{text.difference(compared, scale)} {text.mark(compared)}",
            text.difference_interval(compared, scale),
            words.over(compared),
            words.p_value(compared.difference.p if compared.difference else None),
            words.p_value(compared.adjusted_p),
            words.detects(compared.detectable, scale),
        )
        for head, (_, scale, score, other, compared) in zip(heads, lines, strict=True)
    ]
    return Versus(
        title=title,
        claim=words.claim(one, arm, base),
        panel=Panel(title, [_whisker(head, line) for head, line in zip(heads, lines, strict=True)]),
        table=Table(
            ("", arm.label, base.label, "diff", "95 % interval", "over", "p", "p adjusted", "detects"),
            rows,
            [compared.mark for *_, compared in lines],
        ),
        about=list(words.about(made, one, arm, base)),
    )


def _whisker(name: str, line: words.Row) -> Whisker:
    _, scale, _, _, compared = line
    found = compared.difference
    interval = found.interval if found else None
    return Whisker(
        name=name,
        value=None if found is None else text.WHOLE * found.value,
        low=None if interval is None else text.WHOLE * interval.low,
        high=None if interval is None else text.WHOLE * interval.high,
        mark=compared.mark,
        label=f"{text.difference(compared, scale)} {text.mark(compared)}",
    )


def _outcomes(ordered: Sequence[tuple[Side, Row]]) -> Table:
    head = ("arm", "benchmark", "items", "expected", "scored", "missing", "unparsed", "cut by length", "prompts cut")
    rows = []
    for side, row in ordered:
        for name, task in row.result.tasks.items():
            parts = task.seeds
            counts = (
                task.items,
                task.n_expected,
                task.n_scored,
                task.n_missing,
                task.outcomes.get("unparsed", 0),
                sum(part.stopped_by_length for part in parts),
                sum(part.prompts_cut for part in parts),
            )
            kinds = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in task.outcomes.items())
            rows.append((side.label, name, *(f"{count:,}" for count in counts), kinds))
    return Table((*head, "outcomes"), rows)


# --- where it comes from --------------------------------------------------------------------------------------------


def _provenance(ordered: Sequence[tuple[Side, Row]]) -> Table:
    rows = []
    for side, row in ordered:
        git = row.measured.git
        commit = "" if git is None else f"{git.commit}{', with uncommitted changes' if git.dirty else ''}"
        rows.append((side.label, row.id, commit, _settings(row.measured.hardware), row.measured.command))
    return Table(("arm", "row", "commit", "hardware", "command"), rows)


def _packages(rows: Sequence[Row]) -> Table:
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, version in row.measured.packages.items():
            found.setdefault(name, {})[version] = None
    return Table(("package", "version"), [(name, " and ".join(of)) for name, of in sorted(found.items())])


def _settings(values: Mapping[str, Any]) -> str:
    """`name: hf, dtype: float32`, of what is set."""
    return ", ".join(f"{name}: {_plain(value)}" for name, value in values.items() if value not in (None, [], {}))


def _plain(value: Any) -> str:
    """A value of a recipe as people write it."""
    if isinstance(value, dict):
        return f"({_settings(value)})"
    if isinstance(value, list) and value:
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else "none" if value in (None, []) else canonical(value)
