"use strict";
/* The page: what is looked at, what changes it, and the address that leads there again. */

const PAGE = document.getElementById("page");
const STATE = { table: 0, choice: 0, hidden: {}, sort: null, layout: "grid", beside: "", figure: "" };
let REPORT = null;
let VIEW = null;
let CHANGES = 0;

const ACTS = {
  sort: (key) => changed({ sort: nextSort(STATE.sort, key) }),
  open: (place) => {
    location.hash = ["cell", STATE.table, place].join("/");
  },
  run: (place, id) => {
    location.hash = ["run", STATE.table, place, id].join("/");
  },
};

/* Large first, then small first, then as printed. */
function nextSort(sort, key) {
  if (!sort || sort.key !== key) return { key, descending: true };
  return sort.descending ? { key, descending: false } : null;
}

async function start() {
  REPORT = await opened("report");
  addEventListener("hashchange", followed);
  await changed(remembered());
  await followed();
}

/* What is looked at, for when the page is read again, as it is while runs are trained. */
function remember() {
  const hidden = Object.entries(STATE.hidden).map(([axis, labels]) => [axis, [...labels]]);
  try {
    sessionStorage.setItem(REPORT.command, JSON.stringify({ ...STATE, hidden }));
  } catch {
    // a browser that keeps nothing shows the page as it opens
  }
}

function remembered() {
  try {
    const state = JSON.parse(sessionStorage.getItem(REPORT.command)) || {};
    if (!REPORT.tables[state.table || 0].choices[state.choice || 0]) return {};
    return { ...state, hidden: Object.fromEntries((state.hidden || []).map(([axis, labels]) => [axis, new Set(labels)])) };
  } catch {
    return {};
  }
}

/* Something is looked at otherwise: the page is drawn anew, and what had the focus has it again.
   Where more has changed while a part was opened, the later change draws. */
async function changed(changes) {
  const change = (CHANGES += 1);
  Object.assign(STATE, changes);
  delete document.documentElement.dataset.ready;
  remember();
  const table = REPORT.tables[STATE.table];
  const choice = table.choices[STATE.choice] || table.choices[0];
  const sheet = await opened(choice.part);
  if (change !== CHANGES) return;
  VIEW = viewOf(table, choice, sheet);
  const focus = focusOf();
  replace(
    PAGE,
    element("h1", {}, element("bdi", {}, REPORT.title)),
    REPORT.progress && element("p", { class: "note progress" }, REPORT.progress),
    REPORT.notes.map((note) => element("p", { class: "note" }, note)),
    choosers(table, choice),
    element("section", { "aria-label": "filters", class: "filters" }, filters(table, STATE.hidden, filtered)),
    shownTable(),
    below(choice),
    element("section", { "aria-label": "figures", class: "figures", id: "figures" }),
    element("section", { "aria-label": "images" }, imagesOf(table)),
    element("footer", {}, element("p", {}, `Written by bench ${REPORT.version}: `, element("code", {}, REPORT.command))),
  );
  figuresLater();
  refocus(focus);
  document.documentElement.dataset.ready = "true";
}

/* Figures come once the table is there to be read. */
function figuresLater() {
  const [place, view] = [document.getElementById("figures"), VIEW];
  setTimeout(() => {
    if (VIEW === view && place.isConnected) replace(place, figuresOf(VIEW, STATE, refigured));
  });
}

/* Another figure; the button that was pressed has the focus again. */
function refigured(figure) {
  STATE.figure = figure;
  remember();
  const place = document.getElementById("figures");
  replace(place, figuresOf(VIEW, STATE, refigured));
  const pressed = place.querySelector("[aria-pressed=true]");
  if (pressed) pressed.focus({ preventScroll: true });
}

/* What has the focus, by what it is called and where it stands among its like. */
function focusOf() {
  const active = document.activeElement;
  if (!active || !PAGE.contains(active)) return null;
  const open = [...PAGE.querySelectorAll("details.filter")].filter((each) => each.open).map((each) => each.dataset.axis);
  const kind = active.tagName.toLowerCase();
  return { open, kind, at: [...PAGE.querySelectorAll(kind)].indexOf(active) };
}

function refocus(focus) {
  if (!focus) return;
  for (const each of PAGE.querySelectorAll("details.filter")) each.open = focus.open.includes(each.dataset.axis);
  const again = PAGE.querySelectorAll(focus.kind)[focus.at];
  if (again) again.focus({ preventScroll: true });
}

function choosers(table, choice) {
  const tables = REPORT.tables.map((each, at) => [String(at), `${each.name}: ${each.title}`]);
  const pick = (field) => (value) => changed({ choice: nearest(table, choice, field, value), sort: null });
  const fields = [
    ["metric", "metric"],
    ["selection", "selection rule"],
    ["test", "test"],
    ["source", "numbers"],
  ];
  return element(
    "section",
    { "aria-label": "what is shown", class: "choosers" },
    tables.length > 1 && choosing("table", tables, String(STATE.table), (at) => turned(Number(at))),
    fields.map(([field, words]) => {
      const values = [...new Set(table.choices.map((each) => each[field]))].filter(Boolean);
      return values.length > 1 && choosing(words, values.map((value) => [value, value]), choice[field], pick(field));
    }),
    choosing("layout", [["grid", "as printed"], ["list", "a line a cell"]], STATE.layout, (layout) => changed({ layout, sort: null })),
    STATE.layout === "grid" && choosing("beside it", Object.entries(BESIDE), STATE.beside, (beside) => changed({ beside })),
  );
}

function turned(table) {
  return changed({ table, choice: 0, hidden: {}, sort: null, figure: "" });
}

/* The choice that has a value and else as much of the present one as the page holds. */
function nearest(table, choice, field, value) {
  const fields = ["metric", "selection", "test", "source"].filter((each) => each !== field);
  const scores = table.choices.map((each) =>
    each[field] === value ? 1 + fields.filter((name) => each[name] === choice[name]).length : 0,
  );
  return scores.indexOf(Math.max(...scores));
}

function filtered(axis, label, isHidden) {
  const labels = new Set(STATE.hidden[axis] || []);
  const each = label === null ? axesOf(VIEW.table)[axis] : [label];
  for (const name of each) isHidden ? labels.add(name) : labels.delete(name);
  return changed({ hidden: { ...STATE.hidden, [axis]: labels } });
}

function shownTable() {
  const draw = STATE.layout === "list" ? list : grid;
  return element("section", { class: "wide", tabindex: 0, "aria-label": "table", id: "table" }, draw(VIEW, STATE, ACTS));
}

/* What stands below the table: its rules, what was compared, and the table to copy. */
function below(choice) {
  const { sheet } = VIEW;
  const names = { latex: "LaTeX", markdown: "Markdown", csv: "CSV" };
  const copies = Object.entries(sheet.copies || {}).map(([format, text]) => copying(`copy ${names[format]}`, text));
  return element(
    "section",
    { "aria-label": "notes", class: "below" },
    element("p", { class: "provenance" }, sheet.provenance),
    (sheet.signatures || []).map((line) => element("p", { class: "provenance" }, "signature: ", element("code", {}, line))),
    element("p", { class: "copies" }, copies),
    element("p", { class: "command" }, "the same in a terminal: ", element("code", {}, choice.command)),
    element("ul", {}, (sheet.notes || []).map((note) => element("li", {}, note))),
  );
}

function address() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // somebody typed a lone percent sign
  }
}

/* What the address names is opened: a cell or a run. */
async function followed() {
  const [kind, table, place, id] = visible(address()).split("/");
  const panel = document.getElementById("panel");
  if (!["cell", "run"].includes(kind) || !REPORT.tables[Number(table)]) return panel && panel.close();
  if (Number(table) !== STATE.table) await turned(Number(table));
  if (!VIEW.cells.has(place)) return panel && panel.close();
  const make = kind === "cell" ? cellPanel(VIEW, REPORT, place, ACTS) : runPanel(VIEW, REPORT, place, id, ACTS);
  return showPanel(await make);
}

function showPanel(content) {
  let panel = document.getElementById("panel");
  if (!panel) {
    panel = element("dialog", { id: "panel", "aria-label": "what lies behind a number", on: { close: closed } });
    document.body.append(panel);
  }
  replace(panel, button("close", () => panel.close(), { class: "close" }), ...content);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  panel.querySelector("h2").focus();
}

function closed() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
}

start();
