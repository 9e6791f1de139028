// The table's columns: what each is called, what it is sorted by, and what its cells show.

/** Columns of a board, the composite first. `value` is what a column is sorted by; null stands last either way. */
function columnsOf(board) {
  return [
    {
      key: "composite", name: "Score", kind: "score", first: "down", shown: true, wide: true,
      about: aboutComposite(board), domain: domainOf(board.lines.map((line) => line.composite)),
      value: (line) => line.composite.score, render: (line, column) => scoreCell(line.composite, column, baselineScore(board, line)),
    },
    ...(board.lines.some((line) => line.composite.comparison) ? [{
      key: "difference", name: "Against baseline", kind: "difference", first: "down", shown: true, wide: true,
      about: "difference in points, 95 % interval",
      value: (line) => line.composite.comparison?.difference?.value ?? null,
      render: (line) => differenceCell(board, line),
    }] : []),
    ...board.groupNames.map((name) => cellColumn(board, `group:${name}`, name, "mean of a group", (line) => line.groups[name], 100)),
    ...board.names.map((name) => {
      const of = board.benchmarks[name];
      const about = [plural(board.lines[0].cells[name].items, "item"), of.out_of === 100 ? "" : `out of ${of.out_of}`, of.higher_is_better ? "" : "lower is better"];
      return {
        ...cellColumn(board, `task:${name}`, name, about.filter(Boolean).join(", "), (line) => line.cells[name], of.out_of),
        first: of.higher_is_better ? "down" : "up", title: of.protocol,
      };
    }),
    {
      key: "cost", name: "Device time", kind: "number", first: "up", shown: true, about: "all seeds together",
      value: (line) => line.device_hours, render: (line) => numberCell(line.device_hours, hours),
    },
    {
      key: "tokens", name: "Tokens", kind: "number", first: "up", shown: true, about: "trained on, one seed",
      value: (line) => line.tokens, render: (line) => numberCell(line.tokens || null, amount),
    },
    {
      key: "examples", name: "Examples", kind: "number", first: "up", about: "trained on, one seed",
      value: (line) => line.examples, render: (line) => numberCell(line.examples || null, amount),
    },
    {
      key: "seeds", name: "Seeds", kind: "number", first: "down", about: "models of each row",
      value: (line) => line.seeds.length, render: (line) => el("span", {}, count(line.seeds.length)),
    },
    {
      key: "parameters", name: "Parameters", kind: "number", first: "up", about: "of the base model",
      value: (line) => line.model.parameters, render: (line) => numberCell(line.model.parameters, amount),
    },
    textColumn("model", "Base model", (line) => [line.model.name]),
    textColumn("method", "Plug-ins", (line) => line.plugins.map(pluginWords)),
    textColumn("data", "Data", (line) => line.data),
    ...(board.lines.some((line) => line.judges.length) ? [textColumn("judge", "Judge", (line) => line.judges)] : []),
    ...(board.lines.some((line) => line.since) ? [textColumn("since", "Published", (line) => (line.since ? [line.since.slice(0, 10)] : []))] : []),
    textColumn("row", "Row", (line) => [short(line.row)]),
  ];
}

function aboutComposite(board) {
  const of = board.groupNames.length ? plural(board.groupNames.length, "group") : plural(board.names.length, "benchmark");
  return `${board.composite.replace(/ of groups$/, "")} of ${of}`;
}

function cellColumn(board, key, name, about, cellOf, outOf) {
  return {
    key, name, about, kind: "score", first: "down", shown: true, outOf,
    domain: domainOf(board.lines.map(cellOf)),
    value: (line) => cellOf(line).score,
    render: (line, column) => scoreCell(cellOf(line), column, null, nameOfBaseline(board, line)),
  };
}

function textColumn(key, name, textsOf) {
  return {
    key, name, kind: "text", first: "up", about: "",
    value: (line) => textsOf(line).join(", ").toLowerCase() || null,
    render: (line) => el("span", { class: "clamp" }, textsOf(line).join(", ") || "–"),
  };
}

/** `dmt, k 1/8`. */
function pluginWords(plugin) {
  return [plugin.name, options(plugin)].filter(Boolean).join(" ");
}

/** The part of the scale on which a column's intervals lie, with a margin: one axis for the whole column. */
function domainOf(cells) {
  let low = Infinity;
  let high = -Infinity;
  for (const { score, interval: range } of cells) {
    if (score === null) continue;
    low = Math.min(low, range?.low ?? score);
    high = Math.max(high, range?.high ?? score);
  }
  if (low > high) return [0, 1];
  const margin = Math.max(0.02, 0.06 * (high - low));
  const bounded = low >= 0 && high <= 1;
  return [bounded ? Math.max(0, low - margin) : low - margin, bounded ? Math.min(1, high + margin) : high + margin];
}

function scoreCell(found, column, reference, baseline) {
  const outOf = column.outOf ?? 100;
  if (found.score === null) return el("span", { class: "absent" }, "none");
  const { comparison } = found;
  if (column.wide) {
    return el("div", { class: "wide-cell" }, el("span", { class: "score" }, points(found.score, outOf)), intervalBar(found, column.domain, outOf, reference));
  }
  return el("div", { class: "cell" },
    el("div", { class: "figures" },
      el("span", { class: "score" }, points(found.score, outOf)),
      baseline && comparison ? markChip(comparison, baseline, outOf) : null,
      found.missing ? el("span", { class: "flag" }, `${count(found.missing)} missing`) : null),
    intervalBar(found, column.domain, outOf, reference));
}

/** A dot with its interval on an axis; `reference` is the score it is compared with, `seeds` what each seed scored. */
function intervalBar(found, domain, outOf, reference = null, seeds = []) {
  const at = (share) => `${(100 * (share - domain[0])) / (domain[1] - domain[0])}%`;
  const around = found.interval;
  return el("div", { class: "bar", role: "img", "aria-label": around ? `95 % interval ${range(found.interval, outOf)}` : "no interval" },
    reference === null ? null : el("i", { class: "reference", style: { left: at(reference) } }),
    around ? el("i", { class: "interval", style: { left: at(around.low), right: `calc(100% - ${at(around.high)})` } }) : null,
    seeds.map((score) => el("i", { class: "seed", style: { left: at(score) } })),
    el("i", { class: "dot", style: { left: at(found.score) } }));
}

function markChip(comparison, baseline, outOf) {
  const { name, sign } = MARKS[comparison.mark];
  const words = verdict(comparison, baseline, outOf);
  return el("span", { class: `mark ${name}`, title: words },
    el("span", { "aria-hidden": "true" }, `${sign}${comparison.provisional ? "*" : ""}`),
    el("span", { class: "unseen" }, words));
}

function differenceCell(board, line) {
  const { comparison } = line.composite;
  const baseline = nameOfBaseline(board, line);
  if (!comparison) {
    const serves = board.lines.some((other) => other.baseline === line.row);
    return el("span", { class: "absent" }, serves ? "the baseline" : "no baseline here");
  }
  const { difference } = comparison;
  return el("div", { class: "cell" },
    el("div", { class: "figures" },
      markChip(comparison, baseline),
      difference ? el("span", { class: "difference" }, points(difference.value, 100, true)) : null,
      difference?.interval ? el("span", { class: "soft" }, range(difference.interval, 100, true)) : null),
    el("div", { class: "why", "aria-hidden": "true" }, reason(comparison)));
}

function numberCell(value, words) {
  return value === null || value === undefined ? el("span", { class: "absent" }, "–") : el("span", {}, words(value));
}

function baselineScore(board, line) {
  return board.byRow.get(line.baseline)?.composite.score ?? null;
}

function nameOfBaseline(board, line) {
  return board.byRow.get(line.baseline)?.arm ?? "the baseline";
}
