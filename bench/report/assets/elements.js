"use strict";
/* Elements, and the parts of the page. Text enters elements as text alone: nothing here is ever read as markup. */

/* What steers a terminal or turns the order of what is read; it is shown as an escape wherever text enters. */
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]/g;

function visible(text) {
  return String(text).replace(STEERING, (sign) => "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0"));
}

/* An element: `on` has its listeners by event, `data` its data attributes; what is null or false is left away. */
function element(name, settings = {}, ...children) {
  return filled(document.createElement(name), settings, children);
}

function drawn(name, settings = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), settings, children);
}

function filled(made, settings, children) {
  for (const [key, value] of Object.entries(settings)) {
    if (key === "on") Object.entries(value).forEach(([event, act]) => made.addEventListener(event, act));
    else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    made.append(child instanceof Node ? child : document.createTextNode(child));
  }
  return made;
}

function button(text, act, settings = {}) {
  return element("button", { type: "button", ...settings, on: { click: act } }, text);
}

function replace(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/* A labelled choice among [value, words]. */
function choosing(label, options, value, act) {
  const id = `choose-${label.replace(/\W/g, "-")}`;
  const chosen = element("select", { id, on: { change: (event) => act(event.target.value) } });
  for (const [each, words] of options) {
    chosen.append(element("option", { value: each, selected: each === value }, words));
  }
  return element("div", { class: "choosing" }, element("label", { for: id }, label), chosen);
}

const PARTS = new Map();

/* A part of the page by its name: it is unpacked when somebody first looks at it. */
function opened(name) {
  if (!PARTS.has(name)) PARTS.set(name, unpacked(document.getElementById(name)));
  return PARTS.get(name);
}

async function unpacked(island) {
  const letters = atob(island.textContent);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at += 1) bytes[at] = letters.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return calmed(JSON.parse(await new Response(stream).text()));
}

/* What a part says with nothing hidden in it, but for the tables to copy, which are bytes for somebody else. */
function calmed(value) {
  if (typeof value === "string") return visible(value);
  if (Array.isArray(value)) return value.map(calmed);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [visible(key), key === "copies" ? each : calmed(each)]));
}

/* The text is copied; where the browser does not allow it, it is shown to be copied by hand. */
async function copied(text, told) {
  try {
    await navigator.clipboard.writeText(text);
    told("copied");
  } catch {
    const area = element("textarea", { readonly: true, rows: 8, "aria-label": "text to copy" });
    area.value = text;
    told(area);
    area.select();
  }
}

function copying(words, text, label) {
  const said = element("span", { role: "status", class: "said" });
  const act = () => copied(text, (what) => replace(said, what instanceof Node ? what : document.createTextNode(what)));
  return element("span", {}, button(words, act, { "aria-label": label || null }), said);
}

/* A number as people read it; nothing where there is none. */
function number(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  return size >= 1e5 || (size < 1e-3 && size > 0) ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

/* Names and values of plain data, nested as they are. */
function facts(data) {
  const list = element("dl");
  for (const [name, value] of Object.entries(data)) {
    if (value === null || value === "") continue;
    list.append(element("dt", {}, name), element("dd", {}, fact(value)));
  }
  return list;
}

function fact(value) {
  if (Array.isArray(value)) return value.length ? value.map((each, at) => [at ? ", " : "", fact(each)]) : "none";
  if (value !== null && typeof value === "object") return facts(value);
  return String(value);
}

function folded(words, open, ...children) {
  return element("details", { open }, element("summary", {}, words), children);
}
