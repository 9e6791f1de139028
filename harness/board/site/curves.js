// Scores over a number that was swept: a panel for each benchmark, a line for each arm that was swept.

const FAMILIES = 6;
const PANELS = 12;
const SHAPED = 40;
const [PANEL, GAP] = [300, 20];

/** What a curve's points can stand over. */
const OVER = {
  value: { name: (setting) => setting, of: (point) => point.number, words: (point) => point.value },
  tokens: { name: () => "tokens trained on", of: (point) => point.line.tokens, words: (point) => amount(point.line.tokens) },
  examples: { name: () => "examples trained on", of: (point) => point.line.examples, words: (point) => amount(point.line.examples) },
  hours: { name: () => "device-hours", of: (point) => point.line.device_hours, words: (point) => hours(point.line.device_hours) },
};

/** The curves through at least two values of the lines that are shown. */
function curvesOf(board, lines) {
  const among = new Set(lines);
  return board.curves
    .map(({ setting, rest, points: found }) => ({
      setting,
      rest,
      points: found.map(([number, value, place]) => ({ number, value, line: board.lines[place] })).filter(({ line }) => among.has(line)),
    }))
    .filter((curve) => new Set(curve.points.map((point) => point.number)).size > 1);
}

function curvesSection(board, lines, state, go, width) {
  const found = curvesOf(board, lines);
  if (!found.length) return null;
  const settings = [...new Set(found.map((curve) => curve.setting))];
  const setting = settings.includes(state.setting) ? state.setting : settings[0];
  const all = found.filter((curve) => curve.setting === setting).sort((a, b) => b.points.length - a.points.length || a.rest.localeCompare(b.rest));
  const kinds = Object.keys(OVER).filter((kind) => all.every((curve) => curve.points.every((point) => (kind === "value" ? point.number >= 0 : OVER[kind].of(point) > 0))));
  const kind = kinds.includes(state.over) ? state.over : kinds[0] ?? "value";
  const curves = all.slice(0, FAMILIES).map((curve, family) => ({ ...curve, family, points: [...curve.points].sort((a, b) => OVER[kind].of(a) - OVER[kind].of(b)) }));
  const measures = measuresOf(board);
  const wanted = state.panels === "all" ? measures : measures.slice(0, PANELS);
  return el("section", { class: "figures-of", "aria-labelledby": "curves" },
    el("h2", { id: "curves" }, kind === "value" ? `Score over ${setting}` : `Score over ${OVER[kind].name()}, as ${setting} changes`),
    el("div", { class: "choose" },
      settings.length > 1 ? choice("Swept", settings.map((name) => [name, name]), setting, (name) => go({ setting: name, over: null })) : null,
      kinds.length > 1 ? choice("Over", kinds.map((name) => [name, OVER[name].name(setting)]), kind, (name) => go({ over: name === "value" ? null : name })) : null),
    el("figure", {},
      legendOf(curves, all.length),
      el("div", { class: "panels", style: { "--columns": columnsFor(wanted.length, width) } }, panels(board, curves, wanted, kind, setting, state, width)),
      wanted.length < measures.length ? el("button", { type: "button", on: { click: () => go({ panels: "all" }) } }, `Show all ${count(measures.length)}`) : null,
      el("figcaption", { class: "soft" }, captionOf(board, curves)),
      curveNumbers(curves, wanted, kind, setting, state)));
}

function legendOf(curves, all) {
  return el("ul", { class: "lines" }, curves.map(({ rest, family }) => el("li", {},
    svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("path", { class: `line series-${family}`, d: "M0,6H26" }), marker({ left: 13, top: 6 }, family, { class: `marker series-${family}` })),
    rest)),
  all > curves.length ? el("li", { class: "soft" }, `and ${count(all - curves.length)} more: search or filter to see them`) : null);
}

/** One baseline for all points that lies on none of the curves is a line across. */
function referenceOf(board, curves) {
  const lines = curves.flatMap((curve) => curve.points.map((point) => point.line));
  const baselines = new Set(lines.map((line) => line.baseline));
  const [only] = baselines;
  const found = baselines.size === 1 ? board.byRow.get(only) : null;
  return found && !lines.includes(found) ? found : null;
}

function captionOf(board, curves) {
  const reference = referenceOf(board, curves);
  return `Bars are 95 % intervals.${curves.length > 1 ? " Points of one value stand side by side." : ""}${reference ? ` The dashed line is ${reference.arm}, their baseline.` : ""} Panels of one scale share it.`;
}

function panels(board, curves, measures, kind, setting, state, width) {
  const columns = columnsFor(measures.length, width);
  const size = { width: Math.floor((width - GAP * (columns - 1)) / columns) - 2, height: columns === 1 ? 260 : 280 };
  const { across, up } = plane(size.width, size.height);
  const x = sweptAxis(curves, kind, setting, across);
  const reference = referenceOf(board, curves);
  const lines = [...curves.flatMap((curve) => curve.points.map((point) => point.line)), ...(reference ? [reference] : [])];
  return measures.map((measure) => {
    const alike = measures.filter((other) => other.outOf === measure.outOf);
    const y = scoreAxis(alike.flatMap((other) => lines.map(other.of)), measure, up);
    return panel(curves, measure, reference, { ...size, x, y, kind, setting, state });
  });
}

/** So many panels side by side that all rows are about equally full. */
function columnsFor(panels, width) {
  const fitting = Math.max(1, Math.floor((width + GAP) / (PANEL + GAP)));
  return Math.ceil(panels / Math.ceil(panels / fitting));
}

function panel(curves, measure, reference, { width, height, x, y, kind, setting, state }) {
  const across = OVER[kind];
  const places = curves.flatMap(({ rest, family, points: found }) => found
    .filter(({ line }) => measure.of(line).score !== null)
    .map((point, n, { length }) => ({
      family,
      line: point.line,
      left: x.at(across.of(point)) + 3 * (family - (curves.length - 1) / 2),
      top: y.at(measure.of(point.line).score),
      words: [`${rest}, ${across.name(setting)} ${across.words(point)}`, scoreWords(measure, point.line), `point ${n + 1} of ${length}`],
      href: rowHash(state, point.line.row),
    })));
  const across_ = plane(width, height).across;
  const level = reference && measure.of(reference).score !== null ? y.at(measure.of(reference).score) : null;
  return chart({
    label: `${measure.name} over ${across.name(setting)}`,
    about: `${plural(curves.length, "line")}, ${plural(places.length, "point")}.`,
    width, height, x, y, places,
    marks: [
      level === null ? null : svg("path", { class: "reference", d: `M${across_[0]},${level}H${across_[1]}` }),
      curves.map(({ family }) => {
        const own = places.filter((place) => place.family === family);
        return svg("g", { class: `series-${family}` },
          svg("path", { class: "line", d: own.map(({ left, top }, n) => `${n ? "L" : "M"}${left},${top}`).join("") }),
          whiskers(own.map(({ line, left }) => intervalEnds(measure.of(line), left, y)).filter(Boolean)),
          own.length > SHAPED ? dots(own) : own.map((place) => marker(place, family)));
      }),
    ],
  });
}

/** The swept values themselves, or round numbers of tokens, examples and hours. */
function sweptAxis(curves, kind, setting, across) {
  const found = curves.flatMap((curve) => curve.points);
  const values = found.map(OVER[kind].of);
  const positive = values.filter((value) => value > 0);
  const far = positive.length > 1 && spreadsFar(values);
  const axis = far
    ? logAxis([Math.min(...positive), Math.max(...positive)], across, ticksFor(across), values.includes(0))
    : linearAxis([Math.min(...values), Math.max(...values)], across, 4);
  const name = `${OVER[kind].name(setting)}${far ? ", logarithmic" : ""}`;
  if (kind !== "value") return { ...axis, words: kind === "hours" ? hours : (value) => amount(value).replace(/\.0+(?=\D?$)/, ""), name };
  const written = new Map(found.map((point) => [point.number, point.value]));
  return { ...axis, ticks: [...written.keys()].sort((a, b) => a - b), words: (value) => written.get(value), name };
}

function curveNumbers(curves, measures, kind, setting, state) {
  const over = OVER[kind].name(setting);
  return numbersBelow(
    "The same in numbers",
    `Score over ${over}, with 95 % intervals`,
    ["Arm", setting, ...(kind === "value" ? [] : [over]), ...measures.map((measure) => measure.name)],
    () => curves.flatMap(({ rest, points: found }) => found.map((point) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: rowHash(state, point.line.row) }, rest)),
      el("td", {}, point.value),
      kind === "value" ? null : el("td", {}, OVER[kind].words(point)),
      measures.map((measure) => el("td", {}, points(measure.of(point.line).score, measure.outOf), el("small", {}, range(measure.of(point.line).interval, measure.outOf))))))));
}
