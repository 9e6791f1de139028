// Score against device-hours, with the rows that no other beats in both.

const LABELLED = 60;
const LISTED = 200;
const CROWD = 500;

/** What charts can show of a board: the composite, its groups, its benchmarks. */
function measuresOf(board) {
  return [
    { key: "composite", name: "Composite", outOf: 100, sense: 1, of: (line) => line.composite },
    ...board.groupNames.map((name) => ({ key: `group:${name}`, name, outOf: 100, sense: 1, of: (line) => line.groups[name] })),
    ...board.names.map((name) => {
      const { out_of: outOf = 100, higher_is_better: higher } = board.benchmarks[name];
      return { key: `task:${name}`, name, outOf, sense: higher ? 1 : -1, of: (line) => line.cells[name] };
    }),
  ];
}

/** The lines that no other beats: none took as little and scored better. In order of what they took. */
function frontier(lines, measure) {
  const better = (line) => measure.sense * measure.of(line).score;
  const ordered = [...lines].sort((a, b) => a.device_hours - b.device_hours || better(b) - better(a));
  let best = -Infinity;
  return ordered.filter((line) => {
    if (better(line) <= best) return false;
    best = better(line);
    return true;
  });
}

function frontierSection(board, lines, state, go, width) {
  const measures = measuresOf(board);
  const measure = measures.find((one) => one.key === state.measure) ?? measures[0];
  const drawn = lines.filter((line) => line.device_hours > 0 && measure.of(line).score !== null);
  return el("section", { class: "figures-of", "aria-labelledby": "frontier" },
    el("h2", { id: "frontier" }, "Score against device-hours"),
    el("div", { class: "choose" }, choice("Score", measures.map((one) => [one.key, one.name]), measure.key, (key) => go({ measure: key === "composite" ? null : key }))),
    drawn.length ? frontierFigure(drawn, measure, state, width) : null,
    el("p", { class: "soft" }, leftOut(lines, measure)));
}

function frontierFigure(lines, measure, state, width) {
  const front = frontier(lines, measure);
  const height = Math.min(420, Math.max(300, 0.62 * width));
  const { across, up } = plane(width, height);
  const x = hoursAxis(lines, across);
  const y = scoreAxis(lines.map(measure.of), measure, up);
  const placed = (line) => ({ line, left: x.at(line.device_hours), top: y.at(measure.of(line).score) });
  const places = lines.map((line) => ({
    ...placed(line),
    words: [line.arm, scoreWords(measure, line), hours(line.device_hours), front.includes(line) ? "on the Pareto front" : ""].filter(Boolean),
    href: rowHash(state, line.row),
  }));
  const on = front.map((line) => places.find((place) => place.line === line));
  const off = places.filter((place) => !front.includes(place.line));
  const ends = (of) => of.map(({ line, left }) => intervalEnds(measure.of(line), left, y)).filter(Boolean);
  const better = measure.sense > 0 ? "up and to the left" : "down and to the left";
  return el("figure", {},
    chart({
      label: `${measure.name} against device-hours`,
      about: `${plural(lines.length, "row")}; ${plural(front.length, "row")} on the Pareto front, from ${front[0].arm} to ${front.at(-1).arm}.`,
      width, height, x, y, places,
      marks: [
        lines.length <= LABELLED ? whiskers(ends(off)) : null,
        dots(off, { class: off.length > CROWD ? "dots crowd" : "dots" }),
        svg("path", { class: "front", d: stairs(on) }),
        whiskers(ends(on), { class: "whiskers strong" }),
        on.map((place) => marker(place, 0, { class: "marker front" })),
        labels(on, lines.length <= LABELLED ? places : on, width),
      ],
    }),
    el("figcaption", { class: "soft" }, `Better is ${better}. The line joins the rows that no other beats in both: the Pareto front of the scores as they are. Bars are 95 % intervals; rows whose bars overlap may not differ.`),
    numbersOf(lines.length <= LISTED ? lines : front, front, measure, state));
}

/** Device-hours, or minutes where all took less than an hour; logarithmic where some took many times what others did. */
function hoursAxis(lines, across) {
  const taken = lines.map((line) => line.device_hours);
  const minutes = Math.max(...taken) < 1;
  const unit = minutes ? 60 : 1;
  const values = taken.map((value) => value * unit);
  const far = spreadsFar(values);
  const least = Math.min(...values);
  const axis = far
    ? logAxis([least / 1.15, Math.max(...values) * 1.15], across, ticksFor(across))
    : linearAxis([0, roundDomain([0, ...values])[1]], across);
  return {
    ...axis,
    at: (value) => axis.at(value * unit),
    ticks: axis.ticks.map((tick) => tick / unit),
    words: (tick) => tickWords(Number((tick * unit).toPrecision(6))),
    name: `device-${minutes ? "minutes" : "hours"}, all seeds together${far ? ", logarithmic" : ""}`,
  };
}

/** How many ticks a horizontal axis has room for. */
function ticksFor([from, to]) {
  return Math.round((to - from) / 80);
}

/** Scores with their intervals, on the benchmark's own scale. */
function scoreAxis(cells, measure, up) {
  const { outOf } = measure;
  const found = cells.filter((cell) => cell.score !== null);
  const values = found.flatMap((cell) => [cell.score, cell.interval?.low ?? cell.score, cell.interval?.high ?? cell.score]);
  const domain = roundDomain(values.map((value) => value * outOf));
  const axis = linearAxis(domain, up);
  return {
    at: (share) => axis.at(share * outOf),
    ticks: axis.ticks.map((tick) => tick / outOf),
    words: (share) => tickWords(Number((share * outOf).toPrecision(6))),
    name: [`${measure.name}, ${outOf === 100 ? "%" : `out of ${outOf}`}`, measure.sense < 0 ? "lower is better" : ""].filter(Boolean).join(", "),
  };
}

/** `code 71.0, 95 % interval 66.1 to 75.3`. */
function scoreWords(measure, line) {
  const found = measure.of(line);
  return `${measure.name} ${points(found.score, measure.outOf)}${found.interval ? `, 95 % interval ${range(found.interval, measure.outOf)}` : ""}`;
}

function intervalEnds(found, left, y) {
  return found.interval && [left, y.at(found.interval.low), y.at(found.interval.high)];
}

function stairs(places) {
  return places.map(({ left, top }, n) => (n ? `H${left}V${top}` : `M${left},${top}`)).join("");
}

/** Names beside the places on the front, where there is room. */
function labels(on, all, width) {
  const taken = all.map(({ left, top }) => ({ from: left - 5, to: left + 5, top: top - 5, foot: top + 5 }));
  return on.map(({ line, left, top }) => {
    const words = line.arm.length > 28 ? `${line.arm.slice(0, 27)}…` : line.arm;
    const wide = 7.4 * words.length;
    const free = [[-9, -6, "end"], [9, 14, "start"], [-9, 14, "end"], [9, -6, "start"]].find(([dx, dy, anchor]) => {
      const from = anchor === "end" ? left + dx - wide : left + dx;
      const box = { from, to: from + wide, top: top + dy - 10, foot: top + dy + 3 };
      if (box.from < MARGIN.left || box.to > width - 4 || box.top < 14) return false;
      if (taken.some((other) => box.from < other.to && other.from < box.to && box.top < other.foot && other.top < box.foot)) return false;
      taken.push(box);
      return true;
    });
    return free ? svg("text", { class: "label", x: left + free[0], y: top + free[1], "text-anchor": free[2], "aria-hidden": "true" }, words) : null;
  });
}

/** Which rows the chart does not show, and why. */
function leftOut(lines, measure) {
  const without = (kind, why) => {
    const missing = lines.filter(kind).map((line) => line.arm);
    if (!missing.length) return null;
    return missing.length <= 4 ? `Not shown, ${why}: ${missing.join(", ")}.` : `Not shown, ${why}: ${plural(missing.length, "row")}.`;
  };
  return [
    without((line) => measure.of(line).score === null, "without a score"),
    without((line) => measure.of(line).score !== null && !(line.device_hours > 0), "since nobody recorded what they took"),
  ].filter(Boolean).join(" ");
}

function numbersOf(lines, front, measure, state) {
  const ordered = [...lines].sort((a, b) => a.device_hours - b.device_hours);
  return numbersBelow(
    lines.length === front.length ? "The Pareto front in numbers" : "The same in numbers",
    `${measure.name} against device-hours`,
    ["Arm", "Device time", measure.name, "95 % interval", "Pareto front"],
    () => ordered.map((line) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: rowHash(state, line.row) }, line.arm)),
      el("td", {}, hours(line.device_hours)),
      el("td", {}, points(measure.of(line).score, measure.outOf)),
      el("td", {}, range(measure.of(line).interval, measure.outOf) || "none"),
      el("td", {}, front.includes(line) ? "on it" : ""))));
}
