// Which rows are shown: a search, and for each facet the values that were chosen.

const FACETS = [
  { key: "model", name: "Base model", of: (line) => [line.model.name] },
  { key: "data", name: "Data", of: (line) => line.data },
  { key: "method", name: "Method", of: (line) => line.plugins.flatMap((plugin) => [plugin.name, ...(options(plugin) ? [pluginWords(plugin)] : [])]) },
  { key: "judge", name: "Judge", of: (line) => (line.judges.length ? line.judges : ["no judge"]) },
  { key: "protocol", name: "Protocol", of: (line, board) => [...new Set(Object.values(board.benchmarks).map((column) => column.protocol))] },
  { key: "suite", name: "Suite", of: (line, board) => [board.title] },
];

/** The lines of a board that a state shows, in the board's order. */
function matching(board, state) {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = FACETS.filter((facet) => state.filters[facet.key].length);
  return board.lines.filter((line) =>
    words.every((word) => haystack(line).includes(word))
    && chosen.every((facet) => facet.of(line, board).some((value) => state.filters[facet.key].includes(value))));
}

function haystack(line) {
  line.haystack ??= [line.arm, line.row, line.model.name, ...line.plugins.map(pluginWords), ...line.data, ...line.judges, ...line.facts]
    .join("\n").toLowerCase();
  return line.haystack;
}

const counted = new Map();

/** Each value of a facet with the number of rows that have it, over all boards; the most frequent first. */
function valuesOf(facet, boards) {
  if (!counted.has(facet)) counted.set(facet, countValues(facet, boards));
  return counted.get(facet);
}

function countValues(facet, boards) {
  const counts = new Map();
  for (const board of boards) {
    for (const line of board.lines) {
      for (const value of new Set(facet.of(line, board))) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  return [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
}

/** The facets as menus of boxes to tick. `change` is called with the filters that are then chosen. */
function facetMenus(boards, state, change) {
  return FACETS.map((facet) => ({ facet, values: valuesOf(facet, boards) }))
    .filter(({ facet, values }) => values.length > 1 || state.filters[facet.key].length)
    .map(({ facet, values }) => {
      const chosen = state.filters[facet.key];
      const choose = (value, on) => change({
        ...state.filters, [facet.key]: on ? [...chosen, value] : chosen.filter((one) => one !== value),
      });
      return menu(facet.name, chosen.length, values.map(([value, n]) => ({
        words: value, note: count(n), on: chosen.includes(value), change: (on) => choose(value, on),
      })), facet.key);
    });
}

const MANY = 12;

/** A button with a list of boxes to tick; a long list has a field to narrow it. The list is made when it is opened. */
function menu(name, chosen, choices, key) {
  const list = el("div", { class: "choices" });
  const narrow = choices.length > MANY ? el("input", { type: "search", placeholder: "Narrow the list", "aria-label": `Narrow the list of ${name}` }) : null;
  const draw = () => {
    const wanted = narrow?.value.toLowerCase() ?? "";
    const found = choices.filter((choice) => choice.words.toLowerCase().includes(wanted));
    fill(list, found.slice(0, 200).map((choice) => el("label", {},
      el("input", { type: "checkbox", checked: choice.on, "data-key": `${key} ${choice.words}`, on: { change: ({ target }) => { target.focus(); choice.change(target.checked); } } }),
      el("span", {}, choice.words), choice.note ? el("small", {}, choice.note) : null)),
    found.length > 200 ? el("p", { class: "soft" }, `and ${count(found.length - 200)} more`) : null);
  };
  narrow?.addEventListener("input", draw);
  const details = el("details", { class: "menu", "data-menu": key },
    el("summary", { "data-key": key }, name, chosen ? el("b", {}, count(chosen)) : null),
    el("div", { class: "sheet" }, narrow, list));
  details.addEventListener("toggle", () => { if (details.open && !list.childElementCount) draw(); });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.querySelector("summary").focus();
  });
  return details;
}

/** What is chosen, each with a button that takes it away. */
function chips(state, change) {
  return FACETS.flatMap((facet) => state.filters[facet.key].map((value) => el("button", {
    class: "chip", type: "button", "aria-label": `Remove the filter ${facet.name} ${value}`,
    on: { click: () => change({ ...state.filters, [facet.key]: state.filters[facet.key].filter((one) => one !== value) }) },
  }, `${facet.name}: ${value}`, el("span", { "aria-hidden": "true" }, " ×"))));
}
