"use strict";
/* The table: as it is printed, or a line a cell; sorted, filtered, and with what is known of each cell beside it. */

const SHOWN = ["value", "std", "delta", "mark", "count", "sign", "look", "hover", "is_word"];
const AXES = ["method", "backbone", "dataset", "rate", "metric"];
const BESIDE = {
  "": "nothing",
  interval: "95 % interval of the difference",
  p_holm: "p (Holm)",
  seconds: "training seconds",
  memory: "peak memory (MB)",
  trained: "trained weights",
};

/* A table under a choice, with its cells by their places. */
function viewOf(table, choice, sheet) {
  const at = new Map(sheet.places.map((place, index) => [place.join("."), index]));
  const cells = new Map(table.cells.map((cell) => [cell.place.join("."), cell]));
  return { table, choice, sheet, at, cells };
}

/* What stands in a row and column of a sheet: its texts, its cell of the plan, and its facts by their names. */
function cellAt(view, row, column) {
  const { sheet } = view;
  const fields = sheet.cells[row][column];
  const place = [row, Math.floor(column / sheet.numbers.length)].join(".");
  const shown = Object.fromEntries(SHOWN.map((name, at) => [name, fields[at] || ""]));
  const kind = sheet.numbers[column % sheet.numbers.length];
  return { shown, place, kind, cell: view.cells.get(place), index: view.at.get(place), number: factOf(view, place, kind) };
}

function factOf(view, place, name) {
  const index = view.at.get(place);
  if (index === undefined) return null;
  const values = view.sheet.facts[name] || (view.sheet.costs || {})[name];
  return values ? values[index] : null;
}

/* What each axis has, for the filters; an axis on which all cells are alike is none. */
function axesOf(table) {
  const axes = {};
  for (const axis of AXES) {
    const labels = [...new Set(table.cells.map((cell) => cell.axes[axis]).filter((label) => label !== undefined))];
    if (labels.length > 1) axes[axis] = labels;
  }
  return axes;
}

function passes(cell, hidden) {
  return Object.entries(hidden).every(([axis, labels]) => !labels.has((cell.axes || {})[axis]));
}

/* The rows and columns of a sheet in which some cell passes the filters. */
function passing(view, hidden) {
  const { sheet } = view;
  const rows = sheet.rows.map((_, row) => row);
  const columns = sheet.columns.map((_, column) => column);
  const isIn = (row, column) => {
    const { cell } = cellAt(view, row, column);
    return cell !== undefined && passes(cell, hidden);
  };
  if (!Object.values(hidden).some((labels) => labels.size)) return { rows, columns };
  return {
    rows: rows.filter((row) => columns.some((column) => isIn(row, column))),
    columns: columns.filter((column) => rows.some((row) => isIn(row, column))),
  };
}

/* Rows in the order of a number or a label; what has none is last. */
function inOrder(rows, keyOf, descending) {
  const sign = descending ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [keyOf(a), keyOf(b)];
    if (x === null || x === undefined || x === "") return y === null || y === undefined || y === "" ? 0 : 1;
    if (y === null || y === undefined || y === "") return -1;
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  };
  return [...rows].sort(compare);
}

/* Neighbours that share their labels down to a level: [label, how many]. */
function spansOf(keys, level) {
  const spans = [];
  keys.forEach((key, at) => {
    const before = at ? keys[at - 1] : null;
    const joins = before && key[level] && key.slice(0, level + 1).every((label, up) => label === before[up]);
    if (joins) spans[spans.length - 1].count += 1;
    else spans.push({ label: key[level], start: at, count: 1 });
  });
  return spans;
}

function sortable(label, key, sort, act, settings = {}) {
  const isSorted = sort && sort.key === key;
  const order = isSorted ? (sort.descending ? "descending" : "ascending") : null;
  const arrow = isSorted ? (sort.descending ? " ▼" : " ▲") : "";
  const inside = button([label || "value", element("span", { "aria-hidden": "true" }, arrow)], () => act(key), { class: "sort" });
  return element("th", { scope: "col", "aria-sort": order, ...settings }, inside);
}

/* The table as it is printed. */
function grid(view, state, acts) {
  const { sheet } = view;
  let { rows, columns } = passing(view, state.hidden);
  const { sort } = state;
  if (sort && sort.key.startsWith("column")) {
    const column = Number(sort.key.slice(6));
    rows = inOrder(rows, (row) => cellAt(view, row, column).number, sort.descending);
  } else if (sort && sort.key.startsWith("stub")) {
    rows = inOrder(rows, (row) => sheet.rows[row][Number(sort.key.slice(4))], sort.descending);
  }
  const body = element("tbody");
  const heads = rowHeads(sheet, rows, Boolean(sort));
  rows.forEach((row, at) => {
    const cells = columns.map((column) => gridCell(view, row, column, state, acts));
    body.append(element("tr", { class: heads[at].starts && at ? "group" : null }, heads[at].heads, cells));
  });
  return element("table", {}, element("caption", {}, sheet.title), gridHead(view, columns, sort, acts), body);
}

function gridHead(view, columns, sort, acts) {
  const { sheet } = view;
  const keys = columns.map((column) => sheet.columns[column]);
  const levels = sheet.columns.length ? sheet.columns[0].length : 1;
  const head = element("thead");
  for (let level = 0; level < levels; level += 1) {
    const line = element("tr");
    if (!level) {
      sheet.stub.forEach((name, at) => {
        line.append(sortable(name || "row", `stub${at}`, sort, acts.sort, { rowspan: levels, class: "stub" }));
      });
    }
    if (level === levels - 1) {
      columns.forEach((column, at) => line.append(sortable(keys[at][level], `column${column}`, sort, acts.sort)));
    } else {
      for (const span of spansOf(keys, level)) {
        line.append(element("th", { scope: "colgroup", colspan: span.count, class: "over" }, span.label));
      }
    }
    head.append(line);
  }
  return head;
}

/* The labels of each row: those that neighbours share stand once, unless the rows are sorted. */
function rowHeads(sheet, rows, isSorted) {
  const keys = rows.map((row) => sheet.rows[row]);
  const heads = rows.map(() => ({ heads: [], starts: false }));
  sheet.stub.forEach((_, level) => {
    const spans = isSorted ? keys.map((key, at) => ({ label: key[level], start: at, count: 1 })) : spansOf(keys, level);
    for (const span of spans) {
      const scope = span.count > 1 ? "rowgroup" : "row";
      heads[span.start].heads.push(element("th", { scope, rowspan: span.count, class: "stub" }, span.label));
      if (!level && !isSorted && sheet.stub.length > 1) heads[span.start].starts = true;
    }
  });
  return heads;
}

function gridCell(view, row, column, state, acts) {
  const found = cellAt(view, row, column);
  if (!found.cell || !passes(found.cell, state.hidden)) return element("td");
  const texts = shownTexts(found.shown, view.sheet.emphasis || {});
  const extra = state.beside && found.kind === "mean" ? element("small", { class: "beside" }, beside(view, found.place, state.beside, decimalsOf(found.shown) + 1)) : null;
  if (!texts.length) return element("td", {}, extra);
  const hover = [found.cell.name, found.shown.hover].filter(Boolean).join(": ");
  return element("td", {}, button(texts, () => acts.open(found.place), { class: "cell", title: hover }), extra);
}

/* The texts of a cell as the sheet has them: bold and underlined by its look. */
function shownTexts(shown, emphasis) {
  let value = shown.value;
  for (const sign of emphasis[shown.look] || "") value = element(sign, {}, value);
  return [
    value,
    shown.mark && element("sup", {}, shown.mark),
    shown.std && element("small", {}, ` ± ${shown.std}`),
    shown.delta && element("small", {}, ` ${shown.delta}`),
    shown.count && element("small", {}, ` ${shown.count}`),
    shown.sign && ` ${shown.sign}`,
  ].filter(Boolean);
}

function beside(view, place, what, digits = 2) {
  if (what === "interval") {
    const [low, high] = [factOf(view, place, "delta_low"), factOf(view, place, "delta_high")];
    return low === null || low === undefined ? "" : `[${signed(low, digits)}, ${signed(high, digits)}]`;
  }
  return number(factOf(view, place, what));
}

/* A difference with its sign and so many digits after the point; what rounds to zero has a plus. */
function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) ? "−" : "+") + text;
}

/* Digits after the point of what stands in a cell. */
function decimalsOf(shown) {
  return (shown.value.split(".")[1] || "").length;
}

/* A line a cell, with everything that can be sorted by. */
function list(view, state, acts) {
  const { sheet } = view;
  const axes = Object.keys(axesOf(view.table));
  const columns = [...axes.map((axis) => axisColumn(axis)), ...NUMBERS];
  let lines = [];
  sheet.rows.forEach((_, row) => {
    for (let column = sheet.numbers.length - 1; column < sheet.columns.length; column += sheet.numbers.length) {
      const line = cellAt(view, row, column);
      if (line.cell && passes(line.cell, state.hidden)) lines.push(line);
    }
  });
  const shown = columns.filter((column) => lines.some((line) => column.text(view, line)));
  const sorted = state.sort && shown.find((column) => column.key === state.sort.key);
  if (sorted) lines = inOrder(lines, (line) => sorted.sorted(view, line), state.sort.descending);
  const head = element("tr", {}, shown.map((column) => sortable(column.title, column.key, state.sort, acts.sort)));
  const body = lines.map((line) => element("tr", {}, shown.map((column) => listCell(view, line, column, acts))));
  return element("table", { class: "list" }, element("caption", {}, sheet.title), element("thead", {}, head), element("tbody", {}, body));
}

function listCell(view, line, column, acts) {
  const text = column.text(view, line);
  if (column.key !== "value") return element("td", { class: column.isLabel ? "label" : null }, text);
  const hover = [line.cell.name, line.shown.hover].filter(Boolean).join(": ");
  const texts = shownTexts({ ...line.shown, delta: "", sign: "", count: "" }, view.sheet.emphasis || {});
  return element("td", {}, button(texts, () => acts.open(line.place), { class: "cell", title: hover }));
}

function axisColumn(axis) {
  const text = (_, line) => line.cell.axes[axis] || "";
  return { key: axis, title: axis, text, sorted: text, isLabel: true };
}

function factColumn(key, title, written = number) {
  const value = (view, line) => factOf(view, line.place, key);
  const text = (view, line) => (value(view, line) === null || value(view, line) === undefined ? "" : written(value(view, line)));
  return { key, title, text, sorted: value };
}

function differenceText(view, line) {
  const delta = factOf(view, line.place, "delta");
  return delta === null || delta === undefined ? "" : signed(delta, decimalsOf(line.shown));
}

const NUMBERS = [
  { key: "value", title: "value", text: (_, line) => line.shown.value, sorted: (_, line) => line.number },
  factColumn("n", "n"),
  factColumn("failed", "failed", (value) => (value ? String(value) : "")),
  factColumn("published", "published"),
  { ...factColumn("delta", "difference"), text: differenceText },
  { ...factColumn("delta_low", "95 % interval"), text: (view, line) => beside(view, line.place, "interval", decimalsOf(line.shown) + 1) },
  factColumn("p_holm", "p (Holm)", (value) => number(value, 2)),
  factColumn("verdict", "verdict"),
  factColumn("seconds", "training seconds"),
  factColumn("memory", "peak memory (MB)"),
  factColumn("trained", "trained weights"),
  factColumn("note", "note"),
];

/* Which labels of each axis are shown. */
function filters(table, hidden, act) {
  return Object.entries(axesOf(table)).map(([axis, labels]) => {
    const gone = hidden[axis] || new Set();
    const title = gone.size ? `${axis}: ${labels.length - gone.size} of ${labels.length}` : axis;
    const boxes = labels.map((label) => {
      const toggled = (event) => act(axis, label, !event.target.checked);
      const box = element("input", { type: "checkbox", checked: !gone.has(label), on: { change: toggled } });
      return element("label", {}, box, " ", element("bdi", {}, label));
    });
    const all = button("all", () => act(axis, null, false));
    const none = button("none", () => act(axis, null, true));
    const inside = element("fieldset", {}, element("legend", {}, axis), element("div", {}, all, none), boxes);
    return element("details", { class: "filter", "data-axis": axis }, element("summary", {}, title), inside);
  });
}
