// Numbers in words, as the terminal's table says them.

const MARKS = {
  "+": { name: "better", sign: "+" },
  "-": { name: "worse", sign: "−" },
  "=": { name: "same", sign: "=" },
  "?": { name: "unknown", sign: "?" },
};

/** `93.2` out of 100, `6.53` out of 10; `sign` puts a plus before what is positive. */
function points(share, outOf = 100, sign = false) {
  if (share === null || share === undefined) return "none";
  const digits = decimals(outOf);
  const shown = Math.abs(outOf * share) < 0.5 * 10 ** -digits ? 0 : outOf * share;
  return `${sign && shown > 0 ? "+" : ""}${shown.toFixed(digits)}`.replace("-", "−");
}

function decimals(outOf) {
  return Math.max(0, 3 - Math.floor(Math.log10(outOf)));
}

/** `91.0 to 95.1`. */
function range(interval, outOf = 100, sign = false) {
  return interval ? `${points(interval.low, outOf, sign)} to ${points(interval.high, outOf, sign)}` : "";
}

/** `12,000`. */
function count(number) {
  return number.toLocaleString("en", { maximumFractionDigits: 0 });
}

/** `950`, `12.0k`, `1.25M`. */
function amount(number) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return `${(number / size).toPrecision(3)}${unit}`;
  }
  return number.toFixed(0);
}

/** `1,250 h`, `3.4 h`, `2.5 min`. */
function hours(number) {
  if (number < 1) return `${(60 * number).toFixed(1)} min`;
  return `${number >= 100 ? count(number) : number.toFixed(1)} h`;
}

/** `1 row`, `2 rows`. */
function plural(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** `0.031`, or `< 0.001`. */
function chance(p) {
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

/** The first twelve characters of a digest. */
function short(digest) {
  return digest.slice(0, 12);
}

/** `k 1/8, variant strict`; empty for the defaults. */
function options(plugin) {
  return Object.entries(plugin.options).map(([name, value]) => `${name} ${plain(value)}`).join(", ");
}

/** A JSON value as people write it. */
function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What a mark says, and why no more is said. */
function verdict(comparison, baseline, outOf = 100) {
  const { mark, difference, blocked, provisional } = comparison;
  if (!difference) return `not compared with ${baseline}: ${blocked}`;
  const by = `${points(Math.abs(difference.value), outOf)} points`;
  const words = {
    "+": `better than ${baseline} by ${by}`,
    "-": `worse than ${baseline} by ${by}`,
    "=": `equal to ${baseline}, within the margin`,
    "?": `not known to differ from ${baseline}`,
  }[mark];
  return `${words}${blocked ? `: ${blocked}` : ""}${provisional ? " (provisional: fewer than five seeds)" : ""}`;
}

/** Why a comparison has the mark it has, in few words. */
function reason({ mark, blocked, difference, adjusted }) {
  if (blocked) return blocked;
  if (!difference) return "not paired";
  const around = difference.interval;
  if (mark === "?" && around && (around.low > 0 || around.high < 0)) return `not after adjusting, p ${chance(adjusted)}`;
  return { "+": "better", "-": "worse", "=": "equal within the margin", "?": "too close to tell" }[mark];
}
