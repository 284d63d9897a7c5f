"use strict";
/* Figures, drawn from what the page holds. Each is told apart by marker and dash as well as by colour, and has its
   numbers in a table below it. Nothing is computed here but where things stand. */

const LOOKS = 8;
const DASHES = ["", "6 3", "2 2", "8 3 2 3", "10 4", "4 2", "1 3", "6 2 2 2 2 2"];
const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star", "wye", "asterisk"];

const FIGURES = {
  rates: { title: "against the rate", draw: ratesFigure },
  gaps: { title: "gaps to the baseline", draw: gapsFigure },
  cost: { title: "against cost", draw: costFigure },
  ranks: { title: "critical difference", draw: ranksFigure },
  sweep: { title: "sweep candidates", draw: sweepFigure },
};

function figuresOf(view, state, act) {
  const drawings = Object.entries(FIGURES).map(([name, { title, draw }]) => [name, title, draw(view, state)]);
  const full = drawings.filter(([, , drawing]) => drawing);
  if (!full.length) return [];
  const [name, , drawing] = full.find(([each]) => each === state.figure) || full[0];
  const tabs = full.map(([each, title]) => button(title, () => act(each), { "aria-pressed": String(each === name) }));
  return [element("h2", {}, "Figures"), element("p", { class: "tabs" }, tabs), drawing()];
}

function look(at) {
  return { colour: `var(--series-${at % LOOKS})`, dash: DASHES[at % LOOKS], symbol: SYMBOLS[at % LOOKS] };
}

/* The cells with a number that pass the filters, with what figures need of them. */
function pointsOf(view, state) {
  const points = [];
  for (const [place, cell] of view.cells) {
    const index = view.at.get(place);
    const mean = factOf(view, place, view.sheet.numbers[view.sheet.numbers.length - 1]);
    if (index === undefined || mean === null || mean === undefined || !passes(cell, state.hidden)) continue;
    const interval = (view.sheet.intervals || [])[index] || [null, null];
    points.push({ place, cell, mean, low: interval[0], high: interval[1], method: cell.axes.method || cell.name, x: cell.x });
  }
  return points;
}

/* Points by the labels that tell them apart, beside those that are left out. */
function panelsOf(points, without) {
  const axes = AXES.filter((axis) => !without.includes(axis));
  const telling = axes.filter((axis) => new Set(points.map((point) => point.cell.axes[axis])).size > 1);
  return [...d3.group(points, (point) => telling.map((axis) => point.cell.axes[axis] || "").join(" / "))];
}

function methodsOf(view) {
  return [...new Set([...view.cells.values()].map((cell) => cell.axes.method || cell.name))];
}

/* A drawing as it enters the page: without the style that the library would add, with what it shows in words. */
function plotted(words, settings) {
  const plot = Plot.plot({ width: 420, height: 300, marginLeft: 50, ...settings, ariaLabel: words, style: null });
  for (const style of plot.querySelectorAll("style")) style.remove();
  for (const part of plot.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label"); // it is one picture
  plot.setAttribute("role", "img");
  plot.setAttribute("class", "plot");
  return plot;
}

function figure(caption, panels, legend, table) {
  const each = panels.map(([title, plot]) => element("div", { class: "panel" }, title && element("h3", {}, element("bdi", {}, title)), plot));
  return element("figure", {}, legend, element("div", { class: "panels" }, each), element("figcaption", {}, caption), table && folded("the numbers", false, table));
}

/* What stands for each name: line, marker and colour. */
function legendOf(names, places) {
  const items = names.map((name, at) => {
    const { colour, dash, symbol } = look(places ? places[at] : at);
    const line = drawn("line", { x1: 0, x2: 36, y1: 8, y2: 8, "stroke-dasharray": dash || null, "stroke-width": 1.5 });
    const mark = drawn("path", { d: d3.symbol(symbolOf(symbol), 45)(), transform: "translate(18 8)", "stroke-width": 1.5 });
    const sign = drawn("svg", { width: 36, height: 16, "aria-hidden": "true" }, line, mark);
    for (const each of [line, mark]) each.style.stroke = colour;
    mark.style.fill = isStroked(symbol) ? "none" : colour;
    return element("li", {}, sign, " ", element("bdi", {}, name));
  });
  return element("ul", { class: "legend" }, items);
}

function symbolOf(name) {
  return d3[`symbol${name[0].toUpperCase()}${name.slice(1)}`];
}

function isStroked(symbol) {
  return symbol === "asterisk";
}

/* A little aside along x, so that no interval hides another: by the line's number among so many. */
function shifted(x, at, count, values, log) {
  const places = [...new Set(values)].map((value) => (log ? Math.log(value) : value)).sort((a, b) => a - b);
  const gap = d3.min(d3.pairs(places, (left, right) => right - left)) || 1;
  const shift = Math.min(0.014 * (places[places.length - 1] - places[0] || 1), (0.5 * gap) / count) * (at - (count - 1) / 2);
  return log ? Math.exp(Math.log(x) + shift) : x + shift;
}

/* The marks of a line with its points and what their intervals are. */
function lineMarks(points, at, x, y = "mean", joined = true) {
  const { colour, dash, symbol } = look(at);
  const whole = points.filter((point) => point.low !== null && point.low !== undefined);
  return [
    joined && Plot.line(points, { x, y, stroke: colour, strokeDasharray: dash || undefined, strokeWidth: 1.5 }),
    Plot.ruleX(whole, { x, y1: "low", y2: "high", stroke: colour, strokeWidth: 1 }),
    Plot.dot(points, { x, y, symbol, stroke: colour, fill: isStroked(symbol) ? "none" : colour, r: 3.5 }),
  ].filter(Boolean);
}

function manyLooks(count) {
  return count > LOOKS ? ` Looks repeat after ${LOOKS} methods; the filters above choose some.` : "";
}

function isLog(values) {
  const [low, high] = d3.extent(values);
  return low > 0 && high > 20 * low;
}

const MEANS = "Mean over runs with its 95 % interval (Student's t), which is wider than the ± of the table.";

function pointsTable(points, heads, cells) {
  const lines = points.map((point) => element("tr", {}, element("th", { scope: "row" }, point.cell.name), cells(point).map((value) => element("td", {}, number(value)))));
  return numbersTable(["cell", ...heads], lines);
}

function ratesFigure(view, state) {
  const points = pointsOf(view, state).filter((point) => point.x !== null && point.x !== undefined);
  if (new Set(points.map((point) => point.x)).size < 2) return null;
  return () => {
    const methods = methodsOf(view);
    const values = points.map((point) => point.x);
    const log = isLog(values);
    const ticks = [...new Set(values)].sort((a, b) => a - b);
    const panels = panelsOf(points, ["method", "rate"]).map(([title, inside]) => {
      const marks = methods.flatMap((method, at) => {
        const own = inside.filter((point) => point.method === method).sort((a, b) => a.x - b.x);
        const line = own.map((point) => ({ ...point, x: shifted(point.x, at, methods.length, values, log) }));
        return line.length ? lineMarks(line, at, "x") : [];
      });
      const x = { label: view.table.along + (log ? ", log scale" : ""), type: log ? "log" : "linear", inset: 12, labelArrow: "none" };
      if (ticks.length <= 8) Object.assign(x, { ticks, tickFormat: (value) => number(value) });
      return [title, plotted(`${view.choice.metric} against ${view.table.along}${title && `, ${title}`}`, { x, y: scale(view), marks })];
    });
    const inUse = methods.map((_, at) => at).filter((at) => points.some((point) => point.method === methods[at]));
    const legend = legendOf(inUse.map((at) => methods[at]), inUse);
    return figure(MEANS + manyLooks(inUse.length), panels, legend, pointsTable(points, ["mean", "low", "high"], (point) => [point.mean, point.low, point.high]));
  };
}

function scale(view) {
  return { label: view.choice.metric, grid: true, nice: true, labelArrow: "none" };
}

function gapsFigure(view, state) {
  const points = pointsOf(view, state)
    .map((point) => ({
      ...point,
      delta: factOf(view, point.place, "delta"),
      low: factOf(view, point.place, "delta_low"),
      high: factOf(view, point.place, "delta_high"),
      told: factOf(view, point.place, "significant"),
    }))
    .filter((point) => typeof point.delta === "number" && typeof point.low === "number");
  if (!points.length) return null;
  return () => {
    const domain = d3.extent(points.flatMap((point) => [point.low, point.high, 0]));
    const panels = panelsOf(points, ["method"]).map(([title, inside]) => {
      const rows = [...new Set(inside.map((point) => point.method))];
      const marks = [
        Plot.ruleX([0], { stroke: "currentColor", strokeDasharray: "2 2" }),
        Plot.ruleY(inside, { y: "method", x1: "low", x2: "high", stroke: "currentColor", strokeWidth: 1.2 }),
        Plot.dot(inside, { y: "method", x: "delta", r: 4, stroke: "currentColor", fill: (point) => (point.told ? "currentColor" : "var(--paper)") }),
      ];
      const settings = { height: 60 + 22 * rows.length, marginLeft: margin(rows), y: { domain: rows, label: null }, x: { label: `difference, ${view.choice.metric}`, domain, nice: true, grid: true, labelArrow: "none", ticks: 5 }, marks };
      return [title, plotted(`differences to the baseline${title && `, ${title}`}`, settings)];
    });
    const caption = "Difference to the baseline with the interval of the table's test, each by itself; filled: significant after Holm's correction.";
    return figure(caption, panels, null, pointsTable(points, ["difference", "low", "high", "p (Holm)"], (point) => [point.delta, point.low, point.high, factOf(view, point.place, "p_holm")]));
  };
}

function margin(labels) {
  return Math.min(200, 20 + 6.6 * Math.max(...labels.map((label) => label.length)));
}

function costFigure(view, state) {
  const costs = ["seconds", "memory", "trained"].filter((name) => pointsOf(view, state).some((point) => factOf(view, point.place, name) !== null));
  const points = pointsOf(view, state);
  if (!points.length || !costs.length || !view.sheet.costs) return null;
  return () => {
    const place = element("div", {});
    const methods = methodsOf(view);
    const draw = (name) => {
      const priced = points.map((point) => ({ ...point, cost: factOf(view, point.place, name) })).filter((point) => typeof point.cost === "number");
      const log = isLog(priced.map((point) => point.cost));
      const panels = panelsOf(priced, ["method"]).map(([title, inside]) => {
        const marks = methods.flatMap((method, at) => {
          const own = inside.filter((point) => point.method === method);
          return own.length ? lineMarks(own, at, "cost", "mean", false) : [];
        });
        const x = { label: BESIDE[name] + (log ? ", log scale" : ""), type: log ? "log" : "linear", inset: 12, labelArrow: "none", ticks: 4 };
        return [title, plotted(`${view.choice.metric} against ${BESIDE[name]}${title && `, ${title}`}`, { x, y: scale(view), marks })];
      });
      const inUse = methods.map((_, at) => at).filter((at) => priced.some((point) => point.method === methods[at]));
      const table = pointsTable(priced, [BESIDE[name], "mean"], (point) => [point.cost, point.mean]);
      const options = costs.map((each) => [each, BESIDE[each]]);
      replace(place, choosing("cost", options, name, draw), figure(`${MEANS} Cost: the mean over runs.${manyLooks(inUse.length)}`, panels, legendOf(inUse.map((at) => methods[at]), inUse), table));
    };
    draw(costs[0]);
    return place;
  };
}

function ranksFigure(view) {
  const diagrams = view.sheet.ranks || [];
  if (!diagrams.length) return null;
  return () => {
    const panels = diagrams.map((diagram) => ["", ranksPlot(diagram)]);
    const caption = diagrams.map((diagram) => `${diagram.title}; critical difference ${number(diagram.difference, 3)}.`).join(" ");
    const lines = diagrams.flatMap((diagram) => diagram.methods.map((method, at) => element("tr", {}, element("th", { scope: "row" }, method), element("td", {}, number(diagram.ranks[at])))));
    return figure(caption, panels, null, numbersTable(["method", "mean rank"], lines));
  };
}

/* Ranks on an axis, the best to the left; a bar joins methods that the critical difference cannot separate. */
function ranksPlot(diagram) {
  const ranked = diagram.methods.map((method, at) => ({ method, rank: diagram.ranks[at] })).sort((a, b) => a.rank - b.rank);
  const bars = diagram.groups.map((group, at) => {
    const ranks = group.map((each) => diagram.ranks[each]);
    return { low: Math.min(...ranks) - 0.03, high: Math.max(...ranks) + 0.03, y: -0.7 - 0.5 * at };
  });
  const bottom = -1.5 - 0.5 * bars.length;
  const marks = [
    Plot.ruleY(bars, { y: "y", x1: "low", x2: "high", stroke: "currentColor", strokeWidth: 4 }),
    Plot.ruleY([{ low: 1, high: 1 + diagram.difference, y: bottom }], { y: "y", x1: "low", x2: "high", stroke: "currentColor", strokeWidth: 1, marker: "tick" }),
    Plot.text([{ x: 1, y: bottom }], { x: "x", y: "y", text: () => "critical difference", textAnchor: "start", dy: -7 }),
    Plot.ruleX(ranked, { x: "rank", y1: 0, y2: (_, at) => at + 0.6, stroke: "currentColor", strokeOpacity: 0.4 }),
    Plot.dot(ranked, { x: "rank", y: (_, at) => at + 0.6, fill: "currentColor", r: 3.5 }),
    Plot.text(ranked, { x: "rank", y: (_, at) => at + 0.6, text: (each) => `${each.method} ${number(each.rank, 3)}`, textAnchor: "start", dx: 8 }),
  ];
  const count = diagram.methods.length;
  const settings = { width: 620, height: 90 + 22 * (count + bars.length), marginRight: margin(diagram.methods), x: { domain: [1, count], label: "mean rank, 1 is best", labelArrow: "none" }, y: { axis: null, domain: [count + 0.5, bottom - 0.4] }, marks };
  return plotted(diagram.title, settings);
}

function sweepFigure(view) {
  const sweeps = (view.sheet.sweeps || []).filter((each) => each.mean !== null && each.mean !== undefined);
  if (!sweeps.length) return null;
  return () => {
    const splits = [...new Set(sweeps.map((each) => each.split))];
    const panels = [...d3.group(sweeps, (each) => each.cell)].map(([cell, inside]) => {
      const labels = [...new Set(inside.map((each) => each.label))];
      const marks = splits.flatMap((split, at) => {
        const line = inside.filter((each) => each.split === split).map((each) => ({ ...each, low: each.std === null ? null : each.mean - each.std, high: each.mean + each.std }));
        return [...lineMarks(line, at, "label"), Plot.dot(line.filter((each) => each.chosen), { x: "label", y: "mean", r: 8, stroke: "currentColor" })];
      });
      const settings = { width: Math.max(300, 60 * labels.length), marginBottom: 90, x: { domain: labels, label: null, tickRotate: -35, type: "point" }, y: { label: "score", grid: true, labelArrow: "none" }, marks };
      return [cell, plotted(`candidates of ${cell}`, settings)];
    });
    const caption = "Mean ± standard deviation over the finished runs of each candidate; ringed: the one that counts.";
    const lines = sweeps.map((each) => element("tr", {}, element("th", { scope: "row" }, `${each.cell}, ${each.label}, ${each.split}`), [each.mean, each.std, each.n].map((value) => element("td", {}, number(value)))));
    return figure(caption, panels, legendOf(splits), numbersTable(["candidate", "mean", "std", "n"], lines));
  };
}

/* The learning curves of a cell: a line a seed and split, with the point that the selection rule picks. */
function curvesOf(view, report, runs, chosen) {
  const each = runs.candidates.find((candidate) => !candidate.label || candidate.label === chosen) || runs.candidates[0];
  return curvesFigure(view, report, each.runs.filter((run) => run.curve));
}

function curveOf(view, report, run) {
  return curvesFigure(view, report, [run]);
}

function curvesFigure(view, report, runs) {
  if (!runs.some((run) => run.curve.length > 1)) return null;
  const wanted = Object.keys(report.units).find((name) => report.units[name] === view.choice.metric.replace(/,.*$/, ""));
  const metric = runs.every((run) => wanted in run.curve[0].test) ? wanted : runs[0].score;
  const splits = ["val", "test"].filter((split) => runs.some((run) => run.curve[0][split]));
  const panels = splits.map((split) => {
    const marks = runs.flatMap((run, at) => {
      const points = run.curve.map((point) => ({ step: point.step, mean: (point[split] || {})[metric], low: null })).filter((point) => typeof point.mean === "number");
      const picked = points.filter((_, place) => place === (run.picked || {})[view.choice.selection]);
      return [...lineMarks(points, at, "step"), Plot.dot(picked, { x: "step", y: "mean", r: 8, stroke: "currentColor" })];
    });
    const words = split === "val" ? "validation" : "test";
    const y = { label: report.units[metric] || metric, grid: true, labelArrow: "none" };
    return [words, plotted(`${words} curve of ${report.units[metric] || metric}`, { width: 360, height: 240, x: { label: "step", inset: 8, labelArrow: "none" }, y, marks })];
  });
  const caption = `By seed; ringed: the point that the rule ${view.choice.selection} picks.`;
  return figure(caption, panels, legendOf(runs.map((run) => `seed ${run.seed}`)), null);
}

/* Shares of the images of each true class, as a table whose cells are shaded. */
function confusionOf(classes) {
  const shares = new Map(classes.confused.map(([true_, taken, share]) => [`${true_}.${taken}`, share]));
  const lines = classes.labels.map((label, row) => {
    const cells = classes.labels.map((_, column) => {
      const share = row === column ? classes.accuracy[row] : shares.get(`${row}.${column}`) || 0;
      const cell = element("td", { class: "shade" }, share === null ? "" : String(Math.round(share)));
      cell.style.setProperty("--share", `${Math.min(60, share || 0)}%`);
      return cell;
    });
    return element("tr", {}, element("th", { scope: "row" }, label), cells);
  });
  return [element("p", {}, "Percent of the images of each true class (rows), by predicted class:"), numbersTable(["true class", ...classes.labels], lines)];
}
