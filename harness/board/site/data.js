// What the page shows: the JSON beside this script, and pages of data that are loaded in a frame when asked for.

/** Boards with their lines as objects; see `content.py`, which writes them short. */
function read(content) {
  return content.boards.map((board, place) => {
    const names = board.benchmarks.map((benchmark) => benchmark.name);
    const groups = board.groups.map((group) => group.name);
    const of = (index) => board.texts[index];
    const found = {
      ...board,
      place,
      key: `${short(board.suite_sha256)}-${short(board.recipe_sha256)}`,
      names,
      groupNames: groups,
      benchmarks: named(board.benchmarks.map((benchmark) => [benchmark.name, benchmark])),
      lines: board.lines.map((line, order) => ({
        ...line,
        order,
        facts: line.facts.map(of),
        model: of(line.model),
        plugins: line.plugins.map(of),
        data: line.data.map(of),
        judges: line.judges.map(of),
        missing: line.missing.map(of),
        composite: cell(line.composite, of),
        groups: named(groups.map((name, index) => [name, cell(line.groups[index], of)])),
        cells: named(names.map((name, index) => [name, cell(line.cells[index], of)])),
      })),
    };
    found.byRow = new Map(found.lines.map((line) => [line.row, line]));
    return found;
  });
}

/** An object of these names and no others: `constructor` and `__proto__` are names like any. */
function named(entries) {
  const found = Object.create(null);
  for (const [name, value] of entries) found[name] = value;
  return found;
}

function cell([score, range, items, missing, compared], of) {
  return { score, interval: interval(range, of), items, missing, comparison: compared && comparison(compared, of) };
}

function interval(range, of) {
  return range && { low: range[0], high: range[1], method: of(range[2]) };
}

function comparison([mark, provisional, blocked, adjusted, equal, detectable, value, range, n, claim], of) {
  const difference = value === undefined ? null : { value, interval: interval(range, of), n, claim };
  return { mark, provisional: Boolean(provisional), blocked: of(blocked), adjusted, equal, detectable, difference };
}

const PATIENCE = 20_000;
const loaded = new Map();

/** The bytes of a page of data; a promise that is rejected with an error in words. Each page is loaded once. */
function load(page) {
  if (!loaded.has(page)) {
    const coming = handedOver(page).then(unpacked);
    coming.catch(() => loaded.delete(page));
    loaded.set(page, coming);
  }
  return loaded.get(page);
}

/** What the page in a frame posts to this one. The frame may run its script and nothing else. */
function handedOver(page) {
  return new Promise((resolve, reject) => {
    const frame = el("iframe", { src: page, sandbox: "allow-scripts", title: "data", hidden: true });
    const missing = () => finish(() => reject(new Error(`${page} could not be read: is it beside this page?`)));
    const late = setTimeout(missing, PATIENCE);
    const listen = (event) => {
      if (event.source === frame.contentWindow && typeof event.data === "string") finish(() => resolve(event.data));
    };
    const finish = (then) => {
      clearTimeout(late);
      removeEventListener("message", listen);
      frame.remove();
      then();
    };
    addEventListener("message", listen);
    frame.addEventListener("load", () => setTimeout(missing, 2_000));
    document.body.append(frame);
  });
}

async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A row's file and where its samples lie: `{ row, text, samples }`. */
async function loadRow(page) {
  const { row, samples } = JSON.parse(new TextDecoder().decode(await load(page)));
  return { row: JSON.parse(row), text: row, samples };
}

/** SHA-256 of bytes in hexadecimal, or null where the browser does not compute it. */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
