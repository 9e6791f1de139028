// The page: reads the address, shows what it describes, and writes the address as people choose.

const content = JSON.parse(document.getElementById("content").textContent);
const boards = read(content);
const shown = {};
let state = stateOf(location.hash);

/** Change what is shown, and the address with it; a `visit` can be gone back from. */
function go(change, visit = false) {
  state = { ...state, ...change };
  history[visit ? "pushState" : "replaceState"](null, "", hashOf(state));
  show();
}

/** Show what the state describes: the board, a row's page, or its samples. */
function show() {
  const place = findRow(state.row);
  const view = !state.row ? "board" : place?.line && state.task ? "samples" : "row";
  for (const name of ["board", "row", "samples"]) document.getElementById(name).hidden = name !== view;
  const board = place?.board ?? boardOf(state.board);
  document.title = [place?.arm, board?.title ?? "Leaderboard"].filter(Boolean).join(" · ");
  if (view === "board") showBoard(board);
  else if (!place) showUnknown();
  else if (view === "row") showRow(document.getElementById("row"), board, place.line, place.page, state, place.history);
  else showSamples(document.getElementById("samples"), board, place.line, board.byRow.get(state.other) ?? null, state, go);
  if (shown.view && shown.view !== `${view} ${state.row}`) scrollTo(0, view === "board" ? shown.top ?? 0 : 0);
  if (view === "board" && shown.view && !shown.view.startsWith("board")) shown.table?.link(shown.table.focused)?.focus({ preventScroll: true });
  shown.view = `${view} ${state.row}`;
}

function boardOf(wanted) {
  return boards.find((board) => board.key === wanted) ?? boards[0];
}

/** Where a row is: on a board, or in the ledger alone. */
function findRow(row) {
  if (!row) return null;
  const events = (content.ledger?.gone ?? []).filter((event) => [event.row.row, event.supersedes?.row].includes(row));
  const said = events.map((event) => `${event.at.slice(0, 10)}: ${event.kind === "retract" ? "retracted" : event.row.row === row ? `replaced ${event.supersedes.arm}` : `replaced by ${event.row.arm}`}: ${event.reason}`);
  for (const board of boards) {
    const line = board.byRow.get(row);
    if (line) return { board, line, arm: line.arm, page: line.page, history: said };
  }
  const gone = events.flatMap((event) => [event.row, event.supersedes]).find((one) => one?.row === row);
  return gone ? { board: null, line: null, arm: gone.arm, page: gone.page, history: said } : null;
}

function showUnknown() {
  fill(document.getElementById("row"), backLink(state), el("p", { class: "trouble", role: "alert" }, "No such row is on this page."));
}

function showBoard(board) {
  if (!board) {
    fill(document.getElementById("summary"), el("p", { class: "lede" }, "Nothing is published yet."));
    document.querySelector(".tools").hidden = true;
    fill(document.getElementById("log"), ledgerLog(content.ledger, (row) => rowHash(state, row)));
    return;
  }
  if (shown.board !== board) openBoard(board);
  const lines = matching(board, state);
  const wanted = shown.columns.filter(isShown);
  shown.table ??= new RankedTable(document.getElementById("table"), (sort) => go({ sort }));
  shown.table.draw(board, sorted(lines, shown.columns, state.sort), wanted, state);
  drawPicker(board);
  drawTools();
  document.getElementById("status").textContent = lines.length === board.lines.length
    ? plural(lines.length, "row") : `${plural(lines.length, "row")} of ${count(board.lines.length)}`;
  drawCharts(document.getElementById("charts"), board, lines, state, go);
}

function isShown(column) {
  return state.columns ? state.columns.includes(column.key) : Boolean(column.shown);
}

/** What changes with the board alone. */
function openBoard(board) {
  Object.assign(shown, { board, columns: columnsOf(board) });
  document.getElementById("kind").textContent = content.ledger ? "Published leaderboard" : "Leaderboard of one run";
  document.getElementById("title").textContent = board.title;
  fill(document.getElementById("summary"), summary(board));
  fill(document.getElementById("legend"), [...board.legend, ...board.notes].map((said) => el("li", {}, said)));
  fill(document.getElementById("log"), ledgerLog(content.ledger, (row) => rowHash(state, row)), downloads(content.downloads));
}

/** What the board says, in one sentence, and what all its rows share. */
function summary(board) {
  const models = [...new Set(board.lines.map((line) => `${line.model.name}${line.model.parameters ? `, ${amount(line.model.parameters)} parameters` : ""}`))];
  return [
    board.limit === null ? null : el("p", { class: "trouble" }, `Only the first ${count(board.limit)} items of each benchmark were asked: a trial, not a result.`),
    el("p", { class: "lede" }, finding(board)),
    inline([
      ["Base model", models.length <= 2 ? models.join(" and ") : `${count(models.length)} models`],
      ["Suite", `${board.title}: ${plural(board.names.length, "benchmark")}, ${plural(board.lines[0].composite.items, "item")}`],
      ["Equal within", plural(100 * board.margin, "point")],
      ["Recipe", el("code", { class: "hash" }, short(board.recipe_sha256))],
    ]),
  ];
}

/** How many rows are known to be better or worse than their baselines. */
function finding(board) {
  const found = board.lines.filter((line) => line.composite.comparison);
  if (!found.length) return `${plural(board.lines.length, "row")}, none with a baseline to be compared with.`;
  const names = [...new Set(found.map((line) => nameOfBaseline(board, line)))];
  const marked = (mark) => found.map((line) => line.composite.comparison).filter((one) => one.mark === mark);
  const better = marked("+");
  const others = [["-", "worse"], ["=", "equal within the margin"], ["?", "not known to differ"]]
    .map(([mark, words]) => [marked(mark), words]).filter(([of]) => of.length).map(([of, words]) => `${count(of.length)} ${are(of, words)}`);
  const baseline = names.length === 1 ? names[0] : better.length > 1 ? "their baselines" : "its baseline";
  const rows = found.length === 1 ? "one row" : `${count(found.length)} rows`;
  const head = better.length ? `${count(better.length)} of ${rows} ${are(better, `better than ${baseline}`)}` : `None of ${rows} is known to be better than ${baseline}`;
  return `${[head, ...others].join(better.length ? ", " : "; ")}.`;
}

/** `are provisionally worse`, `are worse (1 provisionally)`: what is not known is not provisional either. */
function are(comparisons, words) {
  const provisional = comparisons.filter((one) => one.provisional && one.mark !== "?").length;
  const verb = comparisons.length === 1 ? "is" : "are";
  if (provisional === comparisons.length) return `${verb} provisionally ${words}`;
  return `${verb} ${words}${provisional ? ` (${count(provisional)} provisionally)` : ""}`;
}

/** Which board is shown, where there are several; each with the number of its rows that the filters leave. */
function drawPicker(board) {
  if (boards.length < 2) return;
  const entries = boards.map((one) => [one.key, `${one.title}: ${[...new Set(one.lines.map((line) => line.model.name))].slice(0, 2).join(", ")} (${count(matching(one, state).length)} of ${plural(one.lines.length, "row")})`]);
  const picker = document.getElementById("picker");
  redraw(picker, () => fill(picker, choice("Board", entries, board.key, (key) => go({ board: key, sort: null, columns: null }, true))));
}

function drawTools() {
  const open = document.querySelector(".menu[open]");
  const narrowed = open?.querySelector("input[type='search']")?.value;
  const columns = menu("Columns", 0, shown.columns.map((column) => ({
    words: column.name,
    on: isShown(column),
    change: (on) => {
      const now = shown.columns.filter(isShown).map((one) => one.key);
      go({ columns: on ? [...now, column.key] : now.filter((key) => key !== column.key) });
    },
  })), "columns");
  const facets = document.getElementById("facets");
  redraw(facets, () => {
    fill(facets, facetMenus(boards, state, (filters) => go({ filters })), columns);
    const again = [...facets.children].find((one) => one.dataset.menu === open?.dataset.menu);
    if (!again) return;
    again.open = true;
    if (narrowed) again.querySelector("input[type='search']").value = narrowed;
    again.dispatchEvent(new Event("toggle"));
  });
  fill(document.getElementById("chips"), chips(state, (filters) => go({ filters })));
}

const search = document.getElementById("search");
search.addEventListener("input", () => go({ search: search.value }));
addEventListener("click", (event) => {
  for (const one of document.querySelectorAll(".menu[open]")) if (!one.contains(event.target)) one.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, select, textarea") || document.getElementById("board").hidden) return;
  event.preventDefault();
  search.focus();
});
addEventListener("scroll", () => { if (shown.view?.startsWith("board")) shown.top = scrollY; }, { passive: true });
addEventListener("popstate", () => {
  state = stateOf(location.hash);
  search.value = state.search;
  show();
});
themeButton(document.getElementById("theme"));
search.value = state.search;
show();
