// What the page shows stands in its address, after `#`: whoever has the address sees the same.

const LISTS = ["model", "data", "method", "judge", "protocol", "suite"];

/** The state that an address describes; what is left out has its default. */
function stateOf(hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    board: asked.get("board"),
    row: asked.get("row"),
    other: asked.get("other"),
    task: asked.get("task"),
    seed: asked.get("seed"),
    kind: asked.get("kind"),
    item: asked.get("item"),
    search: asked.get("q") ?? "",
    sort: asked.get("sort"),
    measure: asked.get("measure"),
    setting: asked.get("setting"),
    over: asked.get("over"),
    panels: asked.get("panels"),
    columns: asked.has("columns") ? asked.getAll("columns").filter(Boolean) : null,
    filters: Object.fromEntries(LISTS.map((name) => [name, asked.getAll(name)])),
  };
}

/** The address of a state. */
function hashOf(state) {
  const said = new URLSearchParams();
  for (const name of ["board", "row", "other", "task", "seed", "kind", "item", "sort", "measure", "setting", "over", "panels"]) {
    if (state[name]) said.set(name, state[name]);
  }
  if (state.search) said.set("q", state.search);
  for (const name of state.columns?.length === 0 ? [""] : (state.columns ?? [])) said.append("columns", name);
  for (const name of LISTS) for (const value of state.filters[name]) said.append(name, value);
  return `#${said}`;
}

/** The address of a row's own page within the same board, filters and order. */
function rowHash(state, row) {
  return hashOf({ ...state, row, other: null, task: null, seed: null, kind: null, item: null });
}
