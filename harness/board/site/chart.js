// A chart: grid, axes, marks, and a cursor with which pointers and keys reach every point.
//
// However many points there are, one link moves among them: 10,000 points are one path and one stop of the tab key.

const MARGIN = { top: 34, right: 16, bottom: 44, left: 46 };
const NEAR = 28;
const SHAPES = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
  "M-3.6,-3.6h7.2v7.2h-7.2z",
  "M0,-5.2L5.2,0L0,5.2L-5.2,0z",
  "M0,-4.8L4.8,3.8H-4.8z",
  "M0,4.8L4.8,-3.8H-4.8z",
  "M-1.6,-4.8h3.2v3.2h3.2v3.2h-3.2v3.2h-3.2v-3.2h-3.2v-3.2h3.2z",
];

/** The places between which a chart of that size has its points. */
function plane(width, height) {
  return {
    across: [MARGIN.left + 10, width - MARGIN.right - 10],
    up: [height - MARGIN.bottom - 8, MARGIN.top + 8],
  };
}

/**
 * A chart in a box with its tooltip. `x` and `y` are axes with a `name` and `words` for their ticks; `marks` lie under
 * the cursor. Each of `places` has `left` and `top`, its `words`, whose first line is its name, and an address `href`.
 */
function chart({ label, about, width, height, x, y, marks, places }) {
  const tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    svg("desc", {}, `${about} Arrow keys go from point to point, Enter opens a row.`),
    axisAcross(x, width, height), axisUp(y, width), marks);
  const box = el("div", { class: "chart" }, picture, tip);
  if (places.length) steer(box, picture, tip, places, width);
  return box;
}

function axisAcross(x, width, height) {
  const foot = height - MARGIN.bottom;
  return svg("g", { class: "axis", "aria-hidden": "true" },
    svg("path", { class: "base", d: x.gap ? `M${MARGIN.left},${foot}H${x.gap - 3}m6,0H${width - MARGIN.right}` : `M${MARGIN.left},${foot}H${width - MARGIN.right}` }),
    x.gap ? svg("path", { class: "base", d: `M${x.gap - 6},${foot + 5}l6,-10m0,10l6,-10` }) : null,
    roomFor(x, 7).map((tick) => svg("g", { transform: `translate(${x.at(tick)},${foot})` },
      svg("path", { class: "base", d: "M0,0v4" }),
      svg("text", { y: 17, "text-anchor": "middle" }, x.words(tick)))),
    svg("text", { class: "name", x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 6, "text-anchor": "middle" }, x.name));
}

function axisUp(y, width) {
  return svg("g", { class: "axis", "aria-hidden": "true" },
    y.ticks.map((tick) => svg("g", { transform: `translate(${MARGIN.left},${y.at(tick)})` },
      svg("path", { class: "grid", d: `M0,0H${width - MARGIN.left - MARGIN.right}` }),
      svg("text", { x: -8, y: 4, "text-anchor": "end" }, y.words(tick)))),
    svg("text", { class: "name", x: 10, y: 18 }, y.name));
}

/** The ticks whose words do not run into each other; `wide` is a character. */
function roomFor(axis, wide) {
  let taken = -Infinity;
  return axis.ticks.filter((tick) => {
    const half = (axis.words(tick).length * wide) / 2;
    if (axis.at(tick) - half < taken + 4) return false;
    taken = axis.at(tick) + half;
    return true;
  });
}

/** Lines from the low to the high end of each interval. */
function whiskers(ends, attributes = {}) {
  return svg("path", { class: "whiskers", ...attributes, d: ends.map(([left, low, high]) => `M${left},${low}V${high}`).join("") });
}

/** Any number of dots as one path. */
function dots(places, attributes = {}) {
  return svg("path", { class: "dots", ...attributes, d: places.map(({ left, top }) => `M${left.toFixed(1)},${top.toFixed(1)}h0`).join("") });
}

function marker({ left, top }, shape, attributes = {}) {
  return svg("path", { class: "marker", d: SHAPES[shape % SHAPES.length], transform: `translate(${left},${top})`, ...attributes });
}

/** A table of the same numbers, made when it is opened. */
function numbersBelow(words, caption, heads, rowsOf) {
  const details = folded(words);
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    details.append(el("div", { class: "broad", tabindex: "0", role: "region", "aria-label": `${words}: ${caption}` }, el("table", { class: "plain" },
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rowsOf()))));
  });
  return details;
}

/** Let one link walk among the points. */
function steer(box, picture, tip, places, width) {
  const order = [...places].sort((a, b) => a.left - b.left || b.top - a.top);
  let place = 0;
  const cursor = svg("a", { class: "cursor" }, svg("circle", { r: 9 }));
  const move = (to) => {
    place = to;
    const { left, top, words, href } = order[place];
    cursor.setAttribute("transform", `translate(${left},${top})`);
    cursor.setAttribute("href", href);
    cursor.setAttribute("aria-label", words.join(", "));
    fill(tip, words.map((line, n) => el(n ? "span" : "b", {}, line)));
  };
  const show = (on) => {
    box.classList.toggle("pointed", on);
    tip.hidden = !on;
    if (!on) return;
    const { left, top } = order[place];
    const half = tip.offsetWidth / 2;
    tip.style.setProperty("left", `${Math.min(Math.max(left, half + 4), width - half - 4)}px`);
    tip.style.setProperty("top", `${top > tip.offsetHeight + 16 ? top - tip.offsetHeight - 14 : top + 14}px`);
  };
  cursor.addEventListener("focus", () => show(true));
  cursor.addEventListener("blur", () => show(false));
  cursor.addEventListener("keydown", (event) => {
    const to = { ArrowRight: place + 1, ArrowUp: place + 1, ArrowLeft: place - 1, ArrowDown: place - 1, Home: 0, End: order.length - 1 }[event.key];
    if (event.key === "Escape") show(false);
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(Math.min(Math.max(to, 0), order.length - 1));
    show(true);
    announce(order[place].words.join(", "));
  });
  picture.addEventListener("pointermove", (event) => {
    const { left, top } = picture.getBoundingClientRect();
    const near = nearest(order, event.clientX - left, event.clientY - top);
    if (near !== null) move(near);
    show(near !== null);
  });
  picture.addEventListener("pointerleave", () => show(document.activeElement === cursor));
  picture.addEventListener("click", (event) => {
    if (!event.target.closest("a") && box.classList.contains("pointed")) location.hash = order[place].href;
  });
  move(0);
  picture.append(cursor);
}

/** Which point lies nearest, where one is near. */
function nearest(places, left, top) {
  let best = NEAR ** 2;
  let found = null;
  places.forEach((point, place) => {
    const distance = (point.left - left) ** 2 + (point.top - top) ** 2;
    if (distance < best) [best, found] = [distance, place];
  });
  return found;
}
