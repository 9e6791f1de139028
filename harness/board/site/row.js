// A row's own page: what was found, how it was made, what it took, and how to make it again.

/** Show a row. `found` is its line on the board, or null where it is on none any more. */
async function showRow(host, board, line, page, state, history) {
  const turn = {};
  host.turn = turn;
  fill(host, backLink(state), el("p", { class: "soft" }, "Reading the row …"));
  let file;
  try {
    file = await loadRow(page);
  } catch (error) {
    if (host.turn === turn) fill(host, backLink(state), el("p", { class: "trouble", role: "alert" }, error.message));
    return;
  }
  if (host.turn !== turn) return;
  const { row, text } = file;
  fill(host,
    backLink(state),
    el("h1", { tabindex: "-1" }, row.result.arm),
    history.length ? el("ul", { class: "trouble" }, history.map((event) => el("li", {}, event))) : null,
    line ? standing(board, line) : null,
    section("Numbers", numbers(board, line, row, file.samples, state)),
    section("Run it again", again(row)),
    section("How it was made", made(row)),
    section("What it took", took(row, line)),
    section("Provenance", provenance(row)),
    el("p", { class: "actions" }, saveButton("Save this row as JSON", `${row.id}.json`, text, "application/json")));
  host.querySelector("h1").focus({ preventScroll: true });
}

function backLink(state) {
  return el("p", { class: "back" }, el("a", { href: rowHash(state, null) }, "← The board"));
}

function section(title, ...parts) {
  return el("section", {}, el("h2", {}, title), ...parts);
}

/** Terms with what they are; those without a value are left out. */
function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

/** Facts that stand in one line where there is room. */
function inline(pairs) {
  const list = facts(pairs);
  list.classList.add("inline");
  return list;
}

function code(text, what) {
  return el("div", { class: "code" }, el("pre", { tabindex: "0" }, el("code", {}, text)), copyButton(text, what));
}

function hash(digest) {
  return el("code", { class: "hash" }, digest);
}

function folded(words, ...parts) {
  return el("details", { class: "folded" }, el("summary", {}, words), ...parts);
}

function standing(board, line) {
  const { composite } = line;
  const baseline = board.byRow.get(line.baseline);
  return el("div", { class: "standing" },
    figure("Score", points(composite.score), range(composite.interval) || "no interval"),
    figure("Rank", line.rank === null ? "–" : count(line.rank), [mayRank(line) ? `may be ${mayRank(line)}` : "", `of ${plural(board.lines.length, "row")}`].filter(Boolean).join(", ")),
    composite.comparison?.difference ? figure(`Against ${baseline?.arm ?? "the baseline"}`, points(composite.comparison.difference.value, 100, true), range(composite.comparison.difference.interval, 100, true)) : null,
    line.device_hours === null ? null : figure("Device time", hours(line.device_hours), "all seeds together"),
    figure("Seeds", count(line.seeds.length), line.seeds.join(", ")),
    composite.comparison ? el("p", { class: "verdict" }, markChip(composite.comparison, baseline?.arm ?? "the baseline"), " ", sentence(verdict(composite.comparison, baseline?.arm ?? "the baseline")), " ", wouldFind(composite.comparison)) : null,
    line.missing.length ? el("p", { class: "verdict" }, `No score without ${line.missing.join(", ")}.`) : null);
}

/** What such a comparison would have found. */
function wouldFind({ detectable, mark }, outOf = 100) {
  if (detectable === null || mark !== "?") return "";
  return `A true difference of ${points(detectable, outOf)} points would be found in 80 of 100 such comparisons.`;
}

function figure(name, value, about) {
  return el("div", { class: "figure" }, el("span", { class: "name" }, name), el("b", {}, value), el("small", {}, about));
}

function sentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1)}.`;
}

function numbers(board, line, row, samples, state) {
  const heads = ["Benchmark", "Score", "Interval and seeds", ...(line?.baseline ? ["Against baseline"] : []), "Items", "Outcomes", "By seed"];
  return el("div", { class: "broad", tabindex: "0", role: "region", "aria-label": "Numbers by benchmark" },
    el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, Object.entries(row.result.tasks).map(([name, task]) => {
        const outOf = task.out_of ?? 100;
        return el("tr", {},
          el("th", { scope: "row" }, name, el("small", {}, [task.protocol, task.higher_is_better ? "" : "lower is better", outOf === 100 ? "" : `out of ${outOf}`].filter(Boolean).join(", "))),
          el("td", {}, el("b", {}, points(task.score, outOf))),
          el("td", { class: "spread" },
            task.score === null ? null : intervalBar(task, spread(task), outOf, null, task.seeds.length > 1 ? task.seeds.map((part) => part.score).filter((score) => score !== null) : []),
            range(task.interval, outOf) || "no interval", el("small", {}, task.interval?.method)),
          line?.baseline ? el("td", {}, against(board, line, name, outOf)) : null,
          el("td", {}, count(task.n_scored), el("small", {}, task.n_missing ? `${count(task.n_missing)} of ${count(task.n_expected)} missing` : "scored, none missing")),
          el("td", {}, outcomes(task)),
          el("td", {}, el("ul", { class: "seeds" }, task.seeds.map((part) => el("li", {},
            el("a", { href: hashOf({ ...state, row: row.id, task: name, seed: String(part.seed), other: line?.baseline ?? null, kind: null, item: null }) },
              `seed ${part.seed}: ${points(part.score, outOf)}`))))));
      }))));
}

/** The whole scale, or as far as scores go beyond it. */
function spread(task) {
  const all = [task.score, task.interval?.low, task.interval?.high, ...task.seeds.map((part) => part.score)].filter((one) => typeof one === "number");
  return [Math.min(0, ...all), Math.max(1, ...all)];
}

function against(board, line, name, outOf) {
  const { comparison } = line.cells[name] ?? {};
  if (!comparison) return "–";
  const { difference } = comparison;
  return [
    el("div", { class: "figures" }, markChip(comparison, nameOfBaseline(board, line), outOf), difference ? el("b", {}, points(difference.value, outOf, true)) : null),
    el("small", {}, difference?.interval ? range(difference.interval, outOf, true) : null),
    el("small", {}, reason(comparison)),
    comparison.adjusted === null ? null : el("small", {}, `adjusted p ${chance(comparison.adjusted)}`),
  ];
}

/** How the items ended, as words. */
function outcomes(task) {
  const cut = task.seeds.reduce((sum, part) => sum + part.prompts_cut, 0);
  const long = task.seeds.reduce((sum, part) => sum + part.stopped_by_length, 0);
  const alike = task.seeds.reduce((sum, part) => sum + (part.alike ?? 0), 0);
  const counted = Object.entries(task.outcomes).map(([kind, n]) => `${count(n)} ${kind.replaceAll("_", " ")}`);
  return el("ul", { class: "outcomes" }, [
    ...counted,
    long ? `${count(long)} answers cut by length` : "",
    cut ? `${count(cut)} prompts cut` : "",
    alike ? `${count(alike)} near copies of one answer` : "",
  ].filter(Boolean).map((words) => el("li", {}, words)));
}

function again(row) {
  const { git, command } = row.measured;
  const lines = [git ? `git checkout ${git.commit}` : "", command].filter(Boolean).join("\n");
  return [
    code(lines, "the commands"),
    el("p", { class: "soft" }, git?.dirty ? "The tree had uncommitted changes: the commit alone does not give this row. " : "",
      "On equal hardware and packages it gives the same row id, ", hash(short(row.id)), "; elsewhere numbers may differ in their last digits."),
    folded("What it ran on", facts([
      ...Object.entries(row.measured.hardware).map(([name, value]) => [name.replaceAll("_", " "), words(value)]),
      ...Object.entries(row.measured.packages).map(([name, version]) => [name, version]),
    ])),
  ];
}

function words(value) {
  if (Array.isArray(value)) return value.length ? value.map(plain).join(", ") : "none";
  return plain(value);
}

function made(row) {
  const { result, measured } = row;
  return [
    facts([
      ["Base model", `${modelWords(result.model)}${result.model.parameters ? `, ${amount(result.model.parameters)} parameters` : ""}`],
      ["Matched", result.match],
      ["Engine", spelled(result.engine)],
      ["Differs from its baseline in", Object.entries(measured.differs).map(([name, value]) => `${name}: ${words(value)}`).join("; ")],
    ]),
    list("Plug-ins", result.plugins.map((plugin) => [
      plugin.name, [options(plugin), `version ${plugin.version}, ${measured.plugin_distributions[plugin.name] ?? "from a file"}`].filter(Boolean).join(", "), measured.plugin_digests[plugin.name],
    ])),
    list("Data", result.data.map((data) => [
      data.name, [data.role, data.n === null ? "" : plural(data.n, "example"), spelled(data.source)].filter(Boolean).join(", "), data.content,
    ])),
    ...result.seeds.map((seed, index) => folded(`Training, seed ${seed.seed}`, seed.stages.length ? stages(seed) : el("p", {}, "Not trained."))),
  ];
}

function modelWords(model) {
  if (model.id) return [model.id, model.revision ?? model.commit].filter(Boolean).join(" at ");
  return model.init ? `${model.init.architecture}, made for the run` : "a model without a name";
}

/** `generated: skill arithmetic, n 1500`: settings as words, without those that are not set. */
function spelled(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return plain(value);
  return Object.entries(value).filter(([, of]) => of !== null)
    .map(([name, of]) => (typeof of === "object" && !Array.isArray(of) ? `${name}: ${spelled(of)}` : `${name} ${plain(of)}`)).join(", ");
}

function list(title, entries) {
  if (!entries.length) return null;
  return el("div", { class: "list" }, el("h3", {}, title), el("ul", {}, entries.map(([name, about, digest]) =>
    el("li", {}, el("b", {}, name), el("span", {}, about), digest ? hash(digest) : null))));
}

function stages(seed) {
  const heads = ["Stage", "Steps", "Examples", "Tokens", "Scored tokens", "Loss, first to last", "Job"];
  return el("div", { class: "broad", tabindex: "0", role: "region", "aria-label": `Training stages of seed ${seed.seed}` },
    el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, seed.stages.map((stage) => el("tr", {},
        el("th", { scope: "row" }, stage.stage),
        [stage.steps, stage.examples, stage.tokens, stage.scored_tokens].map((n) => el("td", {}, count(n))),
        el("td", {}, [stage.counts.first_loss, stage.counts.final_loss].map((loss) => (typeof loss === "number" ? loss.toFixed(3) : "–")).join(" to ")),
        el("td", {}, hash(short(stage.key))))),
      seed.merge ? el("tr", {}, el("th", { scope: "row" }, `merge: ${seed.merge.method}`), el("td", { colspan: 5 }, Object.entries(seed.merge.weights).map(([name, share]) => `${name} ${share}`).join(", ")), el("td", {}, hash(short(seed.merge.key)))) : null)));
}

function took(row, line) {
  const { measured } = row;
  return [
    facts([
      ["Device time, all seeds", typeof (measured.device_hours ?? line?.device_hours) === "number" ? hours(measured.device_hours ?? line.device_hours) : null],
      ["Judge", costWords(measured.jobs)],
      ["Jobs, one after the other", measured.seconds === null ? null : hours(measured.seconds / 3600)],
      ["Most memory", measured.peak_bytes === null ? null : `${(measured.peak_bytes / 2 ** 30).toFixed(2)} GiB`],
      ["Begun anew", measured.restarted?.join(", ")],
    ]),
    folded("Job by job", el("div", { class: "broad", tabindex: "0", role: "region", "aria-label": "Jobs" }, el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, ["Job", "Seed", "Took", "Key"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, measured.jobs.map((job) => el("tr", {},
        el("th", { scope: "row" }, job.job), el("td", {}, count(job.seed)),
        el("td", {}, typeof job.measured.seconds === "number" ? hours(job.measured.seconds / 3600) : "–"),
        el("td", {}, hash(short(job.key))))))))),
  ];
}

/** What the judges of all jobs charged, as far as the jobs tell. */
function costWords(jobs) {
  const costs = [...new Map(jobs.map((job) => [job.key, job.measured.judge])).values()].filter((cost) => cost && typeof cost === "object");
  if (!costs.length) return null;
  const sum = (name) => costs.reduce((total, cost) => total + (typeof cost[name] === "number" ? cost[name] : 0), 0);
  const dollars = costs.every((cost) => typeof cost.dollars === "number") ? `, $${sum("dollars").toFixed(2)}` : "";
  return `${plural(sum("replies"), "reply", "replies")}, ${count(sum("prompt_tokens"))} tokens in, ${count(sum("answer_tokens"))} out${dollars}`;
}

function provenance(row) {
  const { result, measured } = row;
  return [
    facts([
      ["Row", hash(row.id)],
      ["Recipe", hash(result.recipe_sha256)],
      ["Suite", hash(result.suite.sha256)],
      ["Commit", measured.git ? hash(measured.git.commit) : "not from a git tree"],
      ["Chat template", result.model.template_digest ? hash(result.model.template_digest) : null],
      ["Judged by", judgeWords(result)],
    ]),
    folded("Samples", el("ul", { class: "hashes" }, Object.entries(result.tasks).flatMap(([name, task]) =>
      task.seeds.map((part) => el("li", {}, `${name}, seed ${part.seed} `, hash(part.samples_sha256)))))),
    folded("The whole recipe", el("pre", { tabindex: "0" }, JSON.stringify(result.recipe, null, 2))),
  ];
}

function judgeWords(result) {
  const found = Object.entries(result.seeds[0].evaluations).filter(([, evaluation]) => evaluation.prompts.judge)
    .map(([name, { prompts }]) => `${name}: ${prompts.judge.model}${prompts.judge.name ? ` at ${prompts.judge.name}` : ""}`);
  return found.join("; ");
}
