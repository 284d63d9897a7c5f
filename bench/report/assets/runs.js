"use strict";
/* What lies behind a number: the runs of a cell, and all that the record of a run says. */

const COLUMNS = ["seed", "run", "score", "status", "seconds"];

async function cellPanel(view, report, place, acts) {
  const cell = view.cells.get(place);
  const runs = cell.part ? (await opened(cell.part)).cells.find((each) => each.place.join(".") === place) : null;
  const chosen = factOf(view, place, "chosen");
  return [
    element("h2", { tabindex: -1 }, element("bdi", {}, cell.name)),
    sayings(view, place),
    runs && runs.candidates.map((candidate) => candidateRuns(view, place, candidate, chosen, acts)),
    runs && curvesOf(view, report, runs, chosen),
    runs && classesOf(runs.classes),
    !runs && element("p", {}, "No runs of its own lie behind this number."),
  ];
}

/* What the table says of a cell, in words. */
function sayings(view, place) {
  const at = view.at.get(place);
  if (at === undefined) return null;
  const fact = (name) => factOf(view, place, name);
  const interval = (view.sheet.intervals || [])[at];
  const said = {
    value: fact("mean") === null ? null : `${number(fact("mean"), 5)}${fact("std") === null ? "" : ` ± ${number(fact("std"), 3)}`}`,
    "of the mean": interval ? `95 % interval ${number(interval[0], 4)} to ${number(interval[1], 4)}` : null,
    runs: fact("planned") ? `${fact("n") ?? "?"} of ${fact("planned")}${fact("failed") ? `, ${fact("failed")} failed` : ""}` : null,
    difference: fact("delta") === null ? null : `${signed(fact("delta"), 2)} ${beside(view, place, "interval")}`,
    "p (Holm)": fact("p_holm") === null ? null : number(fact("p_holm"), 2),
    "beats the baseline": fact("superiority") === null ? null : `${number(100 * fact("superiority"), 3)} % of pairs of runs`,
    published: fact("printed"),
    verdict: fact("verdict") && [fact("verdict"), fact("reason")].filter(Boolean).join(": "),
    chosen: fact("chosen"),
    note: fact("note"),
    "training seconds": number(fact("seconds")),
    "peak memory (MB)": number(fact("memory")),
    "trained weights": number(fact("trained")),
  };
  return facts(Object.fromEntries(Object.entries(said).filter(([, text]) => text !== undefined && text !== null)));
}

function candidateRuns(view, place, candidate, chosen, acts) {
  const counts = candidate.label === undefined || candidate.label === "" || candidate.label === chosen;
  const values = counts ? (view.sheet.seeds || [])[view.at.get(place)] || {} : {};
  const lines = candidate.runs.map((run) =>
    element(
      "tr",
      { class: run.status },
      element("td", {}, String(run.seed)),
      element("td", {}, button(run.id, () => acts.run(place, run.id), { class: "run", "aria-label": `run ${run.id}, seed ${run.seed}` })),
      element("td", {}, number(values[run.seed], 5) || scored(view, run)),
      element("td", {}, run.failure ? `failed (${run.failure.class})` : run.status),
      element("td", {}, run.curve ? number(run.curve[run.curve.length - 1].seconds) : ""),
    ),
  );
  const words = candidate.label ? `${candidate.label}${counts ? " (chosen)" : ""}` : "Runs";
  const head = element("thead", {}, element("tr", {}, COLUMNS.map((name) => element("th", { scope: "col" }, name))));
  const table = element("table", { class: "runs" }, element("caption", {}, words), head, element("tbody", {}, lines));
  return counts || candidate.runs.length < 2 ? table : folded(words, counts, table);
}

/* The score of a run at the point that the rule picks, where the metric is one of its curve. */
function scored(view, run) {
  if (!run.curve || !run.picked) return "";
  const point = run.curve[run.picked[view.choice.selection]];
  return point ? number(point.test[run.score], 5) : "";
}

async function runPanel(view, report, place, id, acts) {
  const cell = view.cells.get(place);
  const part = await opened(cell.part);
  const runs = part.cells.find((each) => each.place.join(".") === place);
  const every = runs.candidates.flatMap((candidate) => candidate.runs);
  const run = every.find((each) => each.id === id);
  if (!run) return [element("h2", { tabindex: -1 }, `run ${id}`), element("p", {}, "It is not behind this cell.")];
  return [
    button("← the cell's runs", () => acts.open(place)),
    element("h2", { tabindex: -1 }, `run ${run.id}, seed ${run.seed}: ${run.status}`),
    element("p", {}, element("bdi", {}, cell.name)),
    run.status === "missing" && element("p", {}, "It has not been trained."),
    run.failure && failureOf(run.failure),
    run.repeat && repeating(run),
    run.curve && curveOf(view, report, run),
    run.curve && folded("Scores by point", false, scoresOf(run, report)),
    run.took && folded("Cost", true, facts(mapped(run.took, number))),
    run.facts && folded("Data and choices", true, facts(run.facts)),
    run.spec >= 0 && folded("Spec", false, facts({ ...part.specs[run.spec], seed: run.seed, seeds: run.seeds || {} })),
    run.versions >= 0 && folded("Versions", false, facts(report.versions[run.versions])),
    run.hardware >= 0 && folded("Hardware", false, facts(report.hardware[run.hardware])),
    run.made >= 0 && folded("How it was made", false, facts({ command: run.command, ...part.made[run.made] })),
    run.log && folded("End of its log", run.status === "failed", element("pre", { tabindex: 0 }, run.log)),
  ];
}

function mapped(data, act) {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, act(value)]));
}

function failureOf(failure) {
  return element(
    "section",
    { class: "failure" },
    element("p", {}, element("strong", {}, `${failure.kind} (${failure.class}): `), failure.message),
    failure.trace && folded("Trace", true, element("pre", { tabindex: 0 }, failure.trace)),
  );
}

function repeating(run) {
  return element("p", { class: "command" }, "repeats it: ", element("code", {}, run.repeat), " ", copying("copy", run.repeat, "copy the command"));
}

/* Every score of every point of a run, as a table. */
function scoresOf(run, report) {
  const metrics = [...new Set(run.curve.flatMap((point) => Object.keys(point.test)))];
  const losses = [...new Set(run.curve.flatMap((point) => Object.keys(point.loss || {})))];
  const heads = [
    "step",
    ...losses.map((name) => `loss ${name}`),
    ...metrics.flatMap((name) => [`${report.units[name] || name}, validation`, `${report.units[name] || name}, test`]),
  ];
  const lines = run.curve.map((point) => {
    const scores = metrics.flatMap((name) => [(point.val || {})[name], point.test[name]]);
    const cells = [point.step, ...losses.map((name) => (point.loss || {})[name]), ...scores];
    return element("tr", {}, cells.map((value) => element("td", {}, number(value))));
  });
  return numbersTable(heads, lines);
}

function numbersTable(heads, lines) {
  const head = element("thead", {}, element("tr", {}, heads.map((name) => element("th", { scope: "col" }, name))));
  return element("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "numbers" }, element("table", {}, head, element("tbody", {}, lines)));
}

/* Accuracy of each class, and which classes are taken for which. */
function classesOf(classes) {
  if (!classes) return null;
  const accuracy = classes.labels.map((label, at) =>
    element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, number(classes.accuracy[at]))),
  );
  const confused = classes.confused.slice(0, 20).map(([true_, taken, share]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, classes.labels[true_]),
      element("td", { class: "label" }, classes.labels[taken]),
      element("td", {}, number(share)),
    ),
  );
  return folded(
    `Classes (${classes.split} split, mean over ${classes.runs} run${classes.runs === 1 ? "" : "s"})`,
    false,
    numbersTable(["class", "right (%)"], accuracy),
    element("p", {}, "Confused most, in percent of the images of the true class:"),
    numbersTable(["true class", "taken for", "images (%)"], confused),
    classes.labels.length <= 15 ? confusionOf(classes) : null,
  );
}

/* Which images are got wrong most often, and on which methods disagree; read when it is unfolded. */
function imagesOf(table) {
  if (!table.images) return null;
  const place = element("div", {});
  const made = folded("Images: got wrong most often, and disagreed on", false, place);
  made.addEventListener("toggle", async () => {
    if (made.open && !place.childNodes.length) replace(place, (await opened(table.images)).sets.map(imageSet));
  });
  return made;
}

function imageSet(set) {
  const share = `${set.runs} runs of ${set.methods.length} method${set.methods.length === 1 ? "" : "s"}, ${set.images} images`;
  return element(
    "section",
    {},
    element("h3", {}, element("bdi", {}, set.where)),
    element("p", {}, `Got wrong most often, in percent of ${share}:`),
    imageTable(set.methods, set.hardest),
    set.disputed.length > 0 && element("p", {}, "Disagreed on most, by the runs of each method that are right, in percent:"),
    set.disputed.length > 0 && imageTable(set.methods, set.disputed),
  );
}

function imageTable(methods, images) {
  const lines = images.map((image) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `image ${image.at}`),
      element("td", { class: "label" }, image.label),
      element("td", { class: "label" }, image.taken),
      [image.wrong, ...image.right].map((value) => element("td", {}, number(value))),
    ),
  );
  return numbersTable(["in the test split", "class", "taken most often for", "wrong (%)", ...methods], lines);
}
