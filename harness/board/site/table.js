// The ranked table. However many rows it has, only those near the view are in the document.

const ALL = 150;
const AROUND = 12;

/** Lines in the order that `sort` (`key` or `-key`, null: by rank) asks for; what has no value stands last. */
function sorted(lines, columns, sort) {
  const column = columns.find((one) => one.key === sort?.replace(/^-/, ""));
  if (!column) return lines;
  const sense = sort.startsWith("-") ? -1 : 1;
  const keyed = lines.map((line) => [column.value(line), line]);
  keyed.sort(([a, one], [b, other]) => {
    if (a === null || b === null || a === undefined || b === undefined) return (a ?? null) === (b ?? null) ? one.order - other.order : (a ?? null) === null ? 1 : -1;
    return (a < b ? -1 : a > b ? 1 : 0) * sense || one.order - other.order;
  });
  return keyed.map(([, line]) => line);
}

/** A table of a board's lines; `draw(lines, columns, state)` shows them. */
class RankedTable {
  constructor(host, sortBy) {
    this.sortBy = sortBy;
    this.head = el("thead");
    this.body = el("tbody");
    this.table = el("table", {}, el("caption", { class: "unseen" }), this.head, this.body);
    this.box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranked rows" }, this.table);
    this.focused = 0;
    fill(host, this.box);
    this.box.addEventListener("scroll", () => this.window(), { passive: true });
    addEventListener("resize", () => this.window());
    this.body.addEventListener("keydown", (event) => this.steer(event));
    this.body.addEventListener("focusin", (event) => { this.focused = Number(event.target.closest("tr")?.dataset.place ?? this.focused); });
    this.body.addEventListener("click", (event) => {
      if (event.target.closest("a, button") || getSelection().toString()) return;
      event.target.closest("tr")?.querySelector("a")?.click();
    });
  }

  draw(board, lines, columns, state) {
    const byRank = !columns.some((column) => column.key === state.sort?.replace(/^-/, ""));
    Object.assign(this, { board, lines, columns, state, byRank, from: -1, to: -1, rowHeight: 0 });
    this.focused = Math.min(this.focused, Math.max(0, lines.length - 1));
    this.table.caption.textContent = `${board.title}: ${plural(lines.length, "row")}, ${byRank ? "by rank" : `sorted by ${state.sort}`}`;
    this.table.setAttribute("aria-rowcount", lines.length + 1);
    redraw(this.head, () => fill(this.head, el("tr", { "aria-rowindex": "1" },
      this.headCell({ key: "rank", name: "Rank and arm", about: "ranks that it may have", kind: "arm" }),
      columns.map((column) => this.headCell(column)))));
    this.window();
  }

  headCell(column) {
    const { state } = this;
    const ranked = column.key === "rank";
    const active = ranked ? this.byRank : state.sort?.replace(/^-/, "") === column.key;
    const down = active && state.sort?.startsWith("-");
    const next = ranked ? null : active ? (down ? column.key : `-${column.key}`) : column.first === "down" ? `-${column.key}` : column.key;
    return el("th", { scope: "col", class: `k-${column.kind}${column.wide ? " wide" : ""}`, "aria-sort": active ? (down ? "descending" : "ascending") : "none" },
      el("button", { type: "button", title: column.title, "data-key": column.key, on: { click: () => this.sortBy(next) } },
        el("span", { class: "name" }, breakable(column.name)), el("span", { class: "arrow", "aria-hidden": "true" }, active ? (down ? "↓" : "↑") : "↕")),
      el("small", {}, column.about || "\u00a0"),
      column.domain ? axis(column) : null);
  }

  /** Put the rows that are in view, and some around them, into the document. */
  window() {
    if (!this.lines) return;
    const { lines } = this;
    const whole = lines.length <= ALL;
    if (!this.rowHeight) this.measure();
    const first = whole ? 0 : Math.max(0, Math.floor(this.box.scrollTop / this.rowHeight) - AROUND);
    const shown = Math.ceil(this.box.clientHeight / this.rowHeight) + 2 * AROUND;
    const last = whole ? lines.length : Math.min(lines.length, first + shown);
    if (first === this.from && last === this.to) return;
    const held = this.body.contains(document.activeElement);
    Object.assign(this, { from: first, to: last });
    fill(this.body,
      spacer(first * this.rowHeight, this.columns.length + 1),
      lines.slice(first, last).map((line, index) => this.row(line, first + index)),
      spacer((lines.length - last) * this.rowHeight, this.columns.length + 1));
    if (held) this.link(this.focused)?.focus({ preventScroll: true });
  }

  measure() {
    fill(this.body, this.lines.length ? this.row(this.lines[0], 0) : []);
    this.rowHeight = this.body.firstElementChild?.getBoundingClientRect().height || 64;
  }

  row(line, place) {
    const { board, lines, columns, state, byRank } = this;
    const tied = byRank && line.group !== null && line.group !== undefined;
    const classes = [
      tied ? "tied" : "",
      tied && lines[place - 1]?.group !== line.group ? "first" : "",
      tied && lines[place + 1]?.group !== line.group ? "last" : "",
      tied && line.group % 2 === 0 ? "even" : "",
    ].filter(Boolean).join(" ");
    return el("tr", { class: classes || null, "data-place": place, "aria-rowindex": place + 2 },
      el("th", { scope: "row" }, el("div", { class: "arm" },
        rankOf(line),
        el("div", { class: "names" },
          el("a", { href: rowHash(state, line.row), tabindex: place === this.focused ? "0" : "-1" }, breakable(line.arm)),
          el("small", {}, [seedWords(line), ...line.facts].join(", "))))),
      columns.map((column) => el("td", { class: `k-${column.kind}` }, column.render(line, column))));
  }

  link(place) {
    return this.body.querySelector(`tr[data-place="${place}"] a`);
  }

  /** Arrow keys walk from row to row. */
  steer(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.focused = Math.min(this.lines.length - 1, Math.max(0, this.focused + step));
    const top = this.focused * this.rowHeight;
    const room = this.box.clientHeight - this.head.offsetHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.rowHeight > this.box.scrollTop + room) this.box.scrollTop = top + this.rowHeight - room;
    this.window();
    for (const link of this.body.querySelectorAll('a[tabindex="0"]')) link.tabIndex = -1;
    const link = this.link(this.focused);
    link.tabIndex = 0;
    link.focus({ preventScroll: true });
  }
}

function spacer(height, columns) {
  return height > 0 ? el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns, style: { height: `${height}px` } })) : null;
}

/** Where a column's bars begin and end. */
function axis(column) {
  const outOf = column.outOf ?? 100;
  return el("div", { class: "axis", "aria-hidden": "true" },
    el("span", {}, points(column.domain[0], outOf)), el("span", {}, points(column.domain[1], outOf)));
}

/** The rank by the scores as they are, and below it those that the row may have. */
function rankOf(line) {
  return el("span", { class: "rank" },
    el("span", { class: "unseen" }, "rank "), line.rank === null ? "–" : count(line.rank),
    mayRank(line) ? el("small", {}, el("span", { class: "unseen" }, ", may be "), mayRank(line)) : null);
}

/** `2–5`; empty where the rank is known. */
function mayRank({ ranks }) {
  return ranks && ranks[0] !== ranks[1] ? `${count(ranks[0])}–${count(ranks[1])}` : "";
}

/** `seed 0`, `3 seeds`. */
function seedWords(line) {
  return line.seeds.length === 1 ? `seed ${line.seeds[0]}` : plural(line.seeds.length, "seed");
}
