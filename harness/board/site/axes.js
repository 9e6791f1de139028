// Where numbers stand on a chart's axis, and which of them are written beside it.

const SPAN = 20;

/** Whether numbers spread so far that their ratios say more than their differences. */
function spreadsFar(values) {
  const positive = values.filter((value) => value > 0);
  return Math.max(...values) / Math.min(...positive) >= SPAN;
}

/** An axis: `at(value)` is its place between `from` and `to` in pixels, `ticks` are the values to write. */
function linearAxis([low, high], [from, to], wanted = 5) {
  const ticks = roundNumbers(low, high, wanted);
  return { ticks, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

/** A logarithmic axis; `zero` keeps a place for 0 at its beginning, apart from the rest. */
function logAxis([low, high], [from, to], wanted = 5, zero = false) {
  const start = zero ? from + 0.14 * (to - from) : from;
  const scale = (to - start) / Math.log(high / low);
  const found = decades(low, high, wanted);
  return {
    ticks: zero ? [0, ...found] : found,
    gap: zero ? from + 0.07 * (to - from) : null,
    at: (value) => (value > 0 ? start + scale * Math.log(value / low) : from),
  };
}

/** About so many round numbers between two. */
function roundNumbers(low, high, wanted) {
  const step = roundStep(low, high, wanted);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

function roundStep(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((step) => step * power >= rough * (1 - 1e-9));
}

/** 1, 2 and 5 of each decade between two numbers; powers of ten alone where these are many, round numbers where few. */
function decades(low, high, wanted) {
  const steps = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    steps.push(...[1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  }
  const within = steps.filter((step) => step >= low * (1 - 1e-9) && step <= high * (1 + 1e-9));
  if (within.length < 3) return roundNumbers(low, high, wanted);
  if (within.length <= wanted + 1) return within;
  const tens = within.filter((step) => /^1(e|0|$)|^0?\.0*1$/.test(String(step)));
  const every = Math.ceil(tens.length / (wanted + 1));
  return tens.filter((_, place) => place % every === 0);
}

/** The least range of round numbers around some values. */
function roundDomain(values, wanted = 5) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [from, to] = high > low ? [low, high] : [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
  const step = roundStep(from, to, wanted);
  return [Math.floor(from / step + 1e-9) * step, Math.ceil(to / step - 1e-9) * step];
}

/** `0.05`, `1,200`. */
function tickWords(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 6 });
}
