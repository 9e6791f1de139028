// What models wrote, item by item; and of two models, where they differ.

const KINDS = {
  all: "All items",
  differ: "Where they differ",
  a: "A better",
  b: "B better",
  neither: "Neither full",
  unscored: "Not scored",
};

/** The samples of one evaluation: `{ items, bytes, asSaid }`, in the order of the file. */
async function loadSamples(file, name, seed) {
  const part = file.row.result.tasks[name]?.seeds.find((one) => one.seed === seed);
  if (!part) return null;
  const bytes = await load(file.samples[part.samples_sha256]);
  const lines = new TextDecoder().decode(bytes).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const digest = await sha256(bytes);
  return { part, lines, bytes, verified: digest === null ? null : digest === part.samples_sha256 };
}

/** A sample's score, or null where it has none. */
function scoreOf(sample, scoreName) {
  const value = sample?.scores?.[scoreName];
  return typeof value === "number" ? value : null;
}

/** Items of A with those of B that are the same question: `{ a, b }`, B null where there is none. */
function paired(a, b) {
  const others = new Map((b?.lines ?? []).map((sample) => [`${sample.id} ${sample.doc_sha256}`, sample]));
  return a.lines.map((sample) => ({ a: sample, b: others.get(`${sample.id} ${sample.doc_sha256}`) ?? null }));
}

/** Whether a pair is of a kind; `sense` is -1 where lower scores are better. */
function isKind(pair, kind, scoreName, sense) {
  const a = scoreOf(pair.a, scoreName);
  const b = scoreOf(pair.b, scoreName);
  if (kind === "unscored") return a === null || (pair.b !== null && b === null);
  if (kind === "neither") return a !== null && (sense > 0 ? a < 1 : a > 0) && (pair.b === null || (b !== null && (sense > 0 ? b < 1 : b > 0)));
  if (kind === "all") return true;
  if (a === null || b === null) return false;
  if (kind === "differ") return a !== b;
  return kind === "a" ? sense * (a - b) > 0 : sense * (a - b) < 0;
}

const LOT = 40;

/** Show the samples of `state.task` and `state.seed` of a row, beside those of the row `state.other`. */
async function showSamples(host, board, line, other, state, go) {
  const turn = {};
  const stay = host.turn && host.querySelector("h1");
  host.turn = turn;
  const back = el("p", { class: "back" }, el("a", { href: rowHash(state, line.row) }, `← ${line.arm}`));
  if (!stay) fill(host, back, el("p", { class: "soft" }, "Reading the samples …"));
  const seed = Number(state.seed);
  let mine;
  let theirs = null;
  let file;
  try {
    file = await loadRow(line.page);
    mine = await loadSamples(file, state.task, seed);
    if (other) theirs = await loadSamples(await loadRow(other.page), state.task, seed);
  } catch (error) {
    if (host.turn === turn) fill(host, back, el("p", { class: "trouble", role: "alert" }, error.message));
    return;
  }
  if (host.turn !== turn) return;
  const task = file.row.result.tasks[state.task];
  if (!mine) {
    fill(host, back, el("p", { class: "trouble", role: "alert" }, `This row has no samples of ${state.task}, seed ${state.seed}.`));
    return;
  }
  const pairs = paired(mine, theirs);
  const sense = task.higher_is_better ? 1 : -1;
  const kinds = other ? Object.keys(KINDS) : ["all", "neither", "unscored"];
  const kind = kinds.includes(state.kind) ? state.kind : other && theirs ? "differ" : "all";
  const view = { host, pairs, task, sense, kind, line, other, theirs, search: "" };
  const results = el("div", { class: "pairs" });
  const search = el("input", { type: "search", placeholder: "Search in the answers", "aria-label": "Search in the answers", on: { input: (event) => { view.search = event.target.value.toLowerCase(); drawPairs(results, view); } } });
  redraw(host, () => fill(host, back,
    el("h1", { tabindex: "-1" }, "Samples"),
    el("div", { class: "choose" },
      choice("Benchmark", board.names.map((name) => [name, name]), state.task, (value) => go({ task: value, kind: null })),
      choice("Seed", line.seeds.map((one) => [String(one), String(one)]), state.seed, (value) => go({ seed: value })),
      choice("A", nearby(board, state, line, line), line.row, (value) => go({ row: value })),
      choice("B", [["", "nobody"], ...nearby(board, state, other, line).filter(([row]) => row !== line.row)], other?.row ?? "", (value) => go({ other: value || null, kind: null }))),
    el("div", { class: "kinds", role: "group", "aria-label": "Which items" }, kinds.map((name) => el("button", {
      type: "button", "aria-pressed": String(name === kind), on: { click: () => go({ kind: name }) },
      "data-key": `kind ${name}`,
    }, wordsOfKind(name, line, other), el("small", {}, count(pairs.filter((pair) => isKind(pair, name, task.score_name, sense)).length))))),
    search,
    el("ul", { class: "proofs" }, proof("A", mine), theirs ? proof("B", theirs) : null),
    el("p", { class: "soft" }, "Questions and reference answers belong to the benchmark: join them by the item’s id and SHA-256."),
    results,
    el("p", { class: "actions" }, saveButton("Save A’s samples", `${mine.part.samples_sha256}.jsonl`, mine.bytes, "application/jsonl"),
      theirs ? saveButton("Save B’s samples", `${theirs.part.samples_sha256}.jsonl`, theirs.bytes, "application/jsonl") : null)));
  drawPairs(results, view);
  if (!stay) host.querySelector("h1").focus({ preventScroll: true });
}

const CHOICES = 300;

/** Rows to choose from: the chosen one, its baseline, and those that the board's filters leave, as far as they go. */
function nearby(board, state, chosen, line) {
  const lines = new Set([chosen, board.byRow.get(line.baseline), ...matching(board, state).slice(0, CHOICES)].filter(Boolean));
  return [...lines].sort((a, b) => a.order - b.order).map((one) => [one.row, one.arm]);
}

/** Whether the samples are those that the row names: computed here and now. */
function proof(side, { verified, part }) {
  const digest = el("code", { class: "hash" }, short(part.samples_sha256));
  if (verified === null) return el("li", {}, `${side}: the row names these samples by their SHA-256, `, digest);
  return verified
    ? el("li", { class: "right" }, `${side}: the SHA-256 of these samples, computed just now, is the row’s, `, digest)
    : el("li", { class: "trouble" }, `${side}: the SHA-256 of these samples is not the row’s, `, digest, ". Do not trust them.");
}

function wordsOfKind(kind, line, other) {
  if (kind === "neither" && !other) return "Without full score";
  return KINDS[kind];
}

function choice(name, values, now, change) {
  const select = el("select", { "data-key": `choice ${name}`, on: { change: (event) => change(event.target.value) } }, values.map(([value, words]) => el("option", { value, selected: value === now }, words)));
  return el("label", { class: "choice" }, el("span", {}, name), select);
}

function drawPairs(results, view) {
  const found = view.pairs.filter((pair) => isKind(pair, view.kind, view.task.score_name, view.sense) && said(pair).includes(view.search));
  const more = (from) => {
    const lot = found.slice(from, from + LOT).map((pair) => pairCard(pair, view));
    const left = found.length - from - lot.length;
    const button = left > 0 ? el("button", { type: "button", class: "more", on: { click: () => { button.remove(); results.append(...more(from + LOT)); } } }, `Show more (${count(left)} left)`) : null;
    return [...lot, button].filter(Boolean);
  };
  fill(results, el("p", { class: "soft", role: "status" }, found.length ? plural(found.length, "item") : "No such item."), more(0));
}

function said(pair) {
  pair.said ??= [pair.a.id, pair.a.response, pair.b?.response ?? ""].map(plain).join("\n").toLowerCase();
  return pair.said;
}

function pairCard(pair, view) {
  return el("article", { class: "pair" },
    el("h2", {}, `Item ${plain(pair.a.id)}`, el("code", { class: "hash", title: "SHA-256 of the item" }, short(pair.a.doc_sha256))),
    el("div", { class: view.other ? "sides two" : "sides" },
      answer(view.other ? `A: ${view.line.arm}` : view.line.arm, pair.a, view),
      view.other ? answer(`B: ${view.other.arm}`, pair.b, view) : null));
}

function answer(who, sample, view) {
  if (!sample) return el("div", { class: "answer" }, el("h3", {}, who), el("p", { class: "soft" }, "This item was not asked."));
  const score = scoreOf(sample, view.task.score_name);
  const notes = [
    sample.finish === "length" ? "cut by length" : "",
    sample.prompt_cut ? "prompt cut" : "",
    ["ok", "scored"].includes(sample.outcome) ? "" : String(sample.outcome).replaceAll("_", " "),
    sample.alike ? "near copy of other answers" : "",
  ].filter(Boolean);
  const full = score !== null && (view.sense > 0 ? score >= 1 : score <= 0);
  return el("div", { class: `answer ${score === null ? "" : full ? "right" : "wrong"}` },
    el("h3", {}, who, el("b", {}, score === null ? "not scored" : points(score, view.task.out_of ?? 100))),
    notes.length ? el("p", { class: "soft" }, notes.join(", ")) : null,
    el("pre", { tabindex: "0", class: "response" }, textOf(sample.response)),
    extracted(sample));
}

/** An answer, or the turns of a conversation. */
function textOf(response) {
  if (Array.isArray(response)) return response.map(plain).join("\n———\n");
  return response === null || response === undefined ? "" : plain(response);
}

function extracted(sample) {
  const found = sample.extracted;
  if (found === null || found === undefined) return null;
  const values = typeof found === "object" ? Object.values(found) : [found];
  const distinct = values.map(plain).filter((value) => value !== textOf(sample.response));
  return distinct.length ? el("p", { class: "soft" }, "Read as ", el("code", {}, distinct.join(" · "))) : null;
}
