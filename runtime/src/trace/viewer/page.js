// The viewer of a trace: lanes over time, zoomed, searched and asked "who caused this?".
//
// 1 the document and what is derived from it · 2 where things stand on the screen
// 3 drawing · 4 the details of one event · 5 search and filters · 6 mouse, touch, keys
//
// Fluid with 100,000 events: the events of a row are sorted, so what is in view is found
// by bisection, and of the events that share a pixel only the first is drawn. What a frame
// asks of an event lies in arrays of numbers, the size of the screen is asked once a frame,
// and the overview is painted once and copied from then on. (`#frames` in the address
// measures: see the end.)
"use strict";
(() => {

// ---- 1 The document -----------------------------------------------------------

const doc = JSON.parse(document.getElementById("trace").textContent);
const { lanes, kinds, subjects } = doc;
const rows = doc.events.rows;
const at = Object.fromEntries(doc.events.columns.map((name, index) => [name, index]));
const count = rows.length;
const length = Math.max(doc.length_ns, 1);

const start = Float64Array.from(rows, row => row[at.start]);
const end = Float64Array.from(rows, row => row[at.end] < 0 ? row[at.start] : row[at.end]);
const laneOf = Int32Array.from(rows, row => row[at.lane]);
const kindOf = i => kinds[rows[i][at.kind]];
const subjectOf = i => subjects[rows[i][at.subject]];
const textOf = i => rows[i][at.text];
const isSpan = i => rows[i][at.end] >= 0;
const groups = [...new Set(kinds.map(kind => kind.group))];
const groupOf = Uint8Array.from(rows, row => groups.indexOf(kinds[row[at.kind]].group));
const unfinished = Uint8Array.from(rows, row => row[at.text].endsWith("(unfinished)"));

// The innermost span of its lane that each event happened in, and how deep that is.
const parent = Int32Array.from(rows, row => row[at.inside]);
const depth = new Int32Array(count);
// For each lane: its events in order, and for each depth the spans and the instants.
const tracks = lanes.map(lane => ({ lane, order: [], rows: [] }));
for (let i = 0; i < count; i++) {
  depth[i] = parent[i] < 0 ? 0 : depth[parent[i]] + 1;
  const track = tracks[laneOf[i]];
  track.order.push(i);
  while (track.rows.length <= depth[i]) track.rows.push({ spans: [], instants: [] });
  const row = track.rows[depth[i]];
  (isSpan(i) ? row.spans : row.instants).push(i);
}

// Arrows by their effect and by their cause.
const arrows = doc.arrows.rows.map(([from, to, kind]) => ({ from, to, kind }));
const into = new Map(), outOf = new Map();
for (const arrow of arrows) {
  for (const [map, key] of [[into, arrow.to], [outOf, arrow.from]]) {
    if (!map.has(key)) map.set(key, []);
    map.get(key).push(arrow);
  }
}

// When each arrow begins and ends.
const arrowLow = Float64Array.from(arrows, ({ from, to }) => Math.min(start[from], start[to]));
const arrowHigh = Float64Array.from(arrows, ({ from, to }) => Math.max(start[from], start[to]));

function label(i) {
  const kind = kindOf(i).name, subject = subjectOf(i)?.name ?? "";
  // Not "process job process job 1".
  return subject.startsWith(kind) ? subject : `${kind} ${subject}`.trim();
}

// Who caused an event, back to the first cause that is known: along an arrow where
// there is one, else out of the span that the event happened in.
function causes(i) {
  const steps = [];
  const seen = new Set([i]);
  while (steps.length < 100) {
    const arrow = (into.get(i) ?? [])[0];
    const next = arrow ? arrow.from : parent[i];
    if (next < 0 || seen.has(next)) break;
    steps.push({ event: next, by: arrow ? arrow.kind : "during", arrow });
    seen.add(next);
    i = next;
  }
  return steps;
}

// The first position in `list` (of events) whose `key` is above `value`.
function bisect(list, key, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key[list[middle]] > value) high = middle; else low = middle + 1;
  }
  return low;
}

// With four digits, or as many as tell times apart that differ by `step`.
function duration(ns, step) {
  const size = Math.abs(ns);
  const [unit, name] = size >= 1e9 ? [1e9, "s"] : size >= 1e6 ? [1e6, "ms"]
    : size >= 1e3 ? [1e3, "µs"] : [1, "ns"];
  const digits = step && Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9));
  return `${step ? (ns / unit).toFixed(digits) : Number((ns / unit).toPrecision(4))} ${name}`;
}

// ---- 2 The screen -------------------------------------------------------------

const $ = id => document.getElementById(id);
const canvas = $("lanes"), overview = $("overview");
const ROW = 19, GAP = 10, AXIS = 22;
let LABELS = 170;
// The canvas, as `measure` found it.
let W = 1, H = 1;
let view = { from: 0, to: length, y: 0 };
let chosen = -1, hovered = -1;
let hits = [], hitSet = new Set();
// How many shapes the last frame drew; see `frames`.
let drawn = 0;
const hidden = new Uint8Array(groups.length);

let offset = 0;
let run = "";
for (const track of tracks) {
  // Of several traces that were put together, each has a line for its name.
  track.title = track.lane.run === run ? "" : track.lane.run;
  run = track.lane.run;
  if (track.title) offset += ROW + GAP;
  track.y = offset;
  track.height = Math.max(track.rows.length, 1) * ROW + GAP;
  offset += track.height;
}
const contentHeight = offset;

const width = () => Math.max(W - LABELS, 1);
function measure() {
  W = canvas.clientWidth;
  H = canvas.clientHeight;
}
const xOf = t => LABELS + (t - view.from) / (view.to - view.from) * width();
const timeOf = x => view.from + (x - LABELS) / width() * (view.to - view.from);
const yOf = i => AXIS + tracks[laneOf[i]].y + depth[i] * ROW - view.y;

function clampView() {
  const span = Math.min(Math.max(view.to - view.from, 20), length * 1.02);
  const margin = span * 0.02;
  view.from = Math.min(Math.max(view.from, -margin), length + margin - span);
  view.to = view.from + span;
  const room = Math.max(contentHeight + AXIS - H, 0);
  view.y = Math.min(Math.max(view.y, 0), room);
}

// By key and button around the chosen event, if that is in view.
function middle() {
  const t = chosen < 0 ? -1 : start[chosen];
  return t >= view.from && t <= view.to ? t : (view.from + view.to) / 2;
}

function zoom(factor, t = middle()) {
  view.from = t - (t - view.from) * factor;
  view.to = t + (view.to - t) * factor;
  redraw();
}

function pan(pixels) {
  const dt = pixels / width() * (view.to - view.from);
  view.from += dt;
  view.to += dt;
  redraw();
}

function showAll() {
  view = { from: 0, to: length, y: 0 };
  redraw();
}

// Brings an event into view; zooms only where it would be too small to be seen.
function reveal(i, tight) {
  const size = end[i] - start[i], span = view.to - view.from;
  if (tight || start[i] < view.from || end[i] > view.to) {
    const wanted = tight ? Math.max(size * 1.5, length / 1e6, 1000) : Math.max(span, size * 1.2);
    const middle = (start[i] + end[i]) / 2;
    view.from = middle - wanted / 2;
    view.to = middle + wanted / 2;
  }
  const y = yOf(i);
  if (y < AXIS) view.y -= AXIS - y + ROW;
  if (y > H - ROW) view.y += y - H + 2 * ROW;
}

// ---- 3 Drawing ----------------------------------------------------------------

let scheduled = false;
function redraw() {
  measure();
  clampView();
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); drawOverview(); });
}

let colours = {}, paints = [];
// The overview as it was painted last.
let busy = null;
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "faint", "line", "panel", "accent", "hit",
    "task", "loop", "time", "io", "sync", "pool", "process", "program"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  paints = groups.map(group => colours[group] ?? colours.faint);
  busy = null;
}
const colourOf = i => paints[groupOf[i]];

function prepare(target) {
  const scale = window.devicePixelRatio || 1;
  const w = Math.round(target.clientWidth * scale), h = Math.round(target.clientHeight * scale);
  if (target.width !== w || target.height !== h) { target.width = w; target.height = h; }
  const pen = target.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, target.clientWidth, target.clientHeight);
  return pen;
}

function draw() {
  const pen = prepare(canvas);
  const w = W, h = H;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  drawAxis(pen, w, h);
  pen.save();
  pen.beginPath();
  pen.rect(LABELS, AXIS, w - LABELS, h - AXIS);
  pen.clip();
  for (const track of tracks) {
    const top = AXIS + track.y - view.y;
    if (top > h || top + track.height < AXIS) continue;
    track.rows.forEach((row, d) => {
      drawSpans(pen, row.spans, top + d * ROW, w);
      drawInstants(pen, row, top + d * ROW, w);
    });
  }
  drawArrows(pen);
  if (chosen >= 0) outline(pen, chosen, colours.accent);
  if (hovered >= 0) outline(pen, hovered, colours.ink);
  pen.restore();
  drawLabels(pen, w, h);
  if (hovered >= 0) drawTip(pen, w, h);
}

function drawAxis(pen, w, h) {
  const rough = (view.to - view.from) / Math.max(width() / 110, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(s => s >= rough);
  pen.fillStyle = colours.faint;
  pen.strokeStyle = colours.line;
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = Math.round(xOf(t)) + 0.5;
    if (x < LABELS) continue;
    pen.beginPath();
    pen.moveTo(x, AXIS - 4);
    pen.lineTo(x, h);
    pen.stroke();
    // A label that would be cut off at the edge says less than none.
    const label = duration(Math.round(t), step);
    if (x + 3 + pen.measureText(label).width <= w) pen.fillText(label, x + 3, AXIS / 2);
  }
}

function drawSpans(pen, spans, y, w) {
  let k = bisect(spans, end, view.from);
  while (k < spans.length && start[spans[k]] < view.to) {
    drawn++;
    const i = spans[k];
    const left = Math.max(xOf(start[i]), LABELS - 2), right = Math.min(xOf(end[i]), w + 2);
    const size = Math.max(right - left, 1);
    if (!hidden[groupOf[i]]) {
      pen.fillStyle = hitSet.has(i) ? colours.hit : colourOf(i);
      if (unfinished[i]) pen.globalAlpha = 0.55;
      pen.fillRect(left, y + 1, size, ROW - 3);
      if (unfinished[i]) pen.globalAlpha = 1;
      const letters = Math.floor((size - 8) / 6.3);
      if (letters >= 3) {
        const name = label(i);
        pen.fillStyle = hitSet.has(i) ? "#222" : colours.paper;
        pen.fillText(name.length > letters ? name.slice(0, letters - 1) + "…" : name,
          left + 4, y + ROW / 2);
      }
    }
    // The next one that reaches beyond this pixel.
    k = size > 1 ? k + 1 : Math.max(k + 1, bisect(spans, end, timeOf(Math.floor(left) + 1)));
  }
}

function drawInstants(pen, { instants, spans }, y, w) {
  let k = bisect(instants, start, view.from - 1);
  while (k < instants.length && start[instants[k]] <= view.to) {
    drawn++;
    const i = instants[k];
    const x = xOf(start[i]);
    const next = Math.max(k + 1, bisect(instants, start, timeOf(Math.floor(x) + 1)));
    if (hidden[groupOf[i]]) {
      k = next;
      continue;
    }
    pen.fillStyle = hitSet.has(i) ? colours.hit : colourOf(i);
    if (next < instants.length && xOf(start[instants[next]]) < x + 3) {
      // In a crowd: a line.
      pen.fillRect(x - 0.5, y + 2, 1, ROW - 6);
    } else {
      pen.beginPath();
      pen.moveTo(x, y + 2);
      pen.lineTo(x + 4, y + ROW / 2 - 1);
      pen.lineTo(x, y + ROW - 4);
      pen.lineTo(x - 4, y + ROW / 2 - 1);
      pen.fill();
      // Its name, as far as there is nothing else in this row.
      const after = [instants[k + 1], spans[bisect(spans, end, start[i])]];
      const room = Math.min(...after.map(j => j === undefined ? w : xOf(start[j]))) - x - 16;
      const over = parent[i] < 0 ? room : Math.min(room, xOf(end[parent[i]]) - x);
      if (over > 60) {
        pen.fillStyle = colours.faint;
        pen.fillText(label(i).slice(0, Math.floor(over / 6.3)), x + 7, y + ROW / 2);
      }
    }
    k = next;
  }
}

function outline(pen, i, colour) {
  const x = xOf(start[i]), size = Math.max(xOf(end[i]) - x, 2);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  if (isSpan(i)) pen.strokeRect(x - 1, yOf(i), size + 2, ROW - 1);
  else { pen.beginPath(); pen.arc(x, yOf(i) + ROW / 2 - 1, 7, 0, 7); pen.stroke(); }
  pen.lineWidth = 1;
}

// All arrows that touch the view while they are few; the chosen event's always.
function drawArrows(pen) {
  const few = [];
  for (let k = 0; k < arrows.length; k++) {
    if (arrowHigh[k] < view.from || arrowLow[k] > view.to) continue;
    const arrow = arrows[k];
    if (hidden[groupOf[arrow.from]] || hidden[groupOf[arrow.to]]) continue;
    few.push(arrow);
    if (few.length > 250) break;
  }
  pen.globalAlpha = 0.55;
  if (few.length <= 250) for (const arrow of few) drawArrow(pen, arrow, colours.faint, 1);
  pen.globalAlpha = 1;
  if (chosen < 0) return;
  for (const step of causes(chosen)) if (step.arrow) drawArrow(pen, step.arrow, colours.accent, 2);
  for (const arrow of outOf.get(chosen) ?? []) drawArrow(pen, arrow, colours.ink, 2);
}

function drawArrow(pen, { from, to }, colour, thickness) {
  // An effect is the beginning of a span, or the end of one that was waiting: that
  // one began before its cause.
  drawn++;
  const ends = isSpan(to) && start[to] < start[from];
  const x0 = xOf(start[from]), y0 = yOf(from) + ROW / 2 - 1;
  const x1 = xOf(ends ? end[to] : start[to]), y1 = yOf(to) + ROW / 2 - 1;
  const bend = Math.min(Math.max(Math.abs(x1 - x0) / 2, 12), 80);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = thickness;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 3, y1);
  pen.stroke();
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x1 - 7, y1 - 4);
  pen.lineTo(x1 - 7, y1 + 4);
  pen.fill();
  pen.lineWidth = 1;
}

function drawLabels(pen, w, h) {
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, LABELS, h);
  pen.save();
  pen.beginPath();
  pen.rect(0, AXIS, w, h - AXIS);
  pen.clip();
  let process = null;
  for (const track of tracks) {
    const { lane } = track;
    const top = AXIS + track.y - view.y;
    const line = top - GAP / 2 + 0.5 - (track.title ? ROW + GAP : 0);
    pen.strokeStyle = process !== null && process !== lane.pid ? colours.faint : colours.line;
    pen.beginPath();
    pen.moveTo(0, line);
    pen.lineTo(w, line);
    pen.stroke();
    process = lane.pid;
    if (track.title) {
      pen.fillStyle = colours.accent;
      pen.fillText(track.title, 8, top - GAP - ROW / 2);
    }
    if (top > h + ROW + GAP || top + track.height < AXIS) continue;
    const letters = Math.floor((LABELS - 12) / 6.4);
    pen.fillStyle = colours.ink;
    // On a phone what is common to all would leave no room for what tells them apart.
    const narrow = LABELS < 100;
    const name = narrow ? lane.name.replace(/^threeply-/, "") : lane.name;
    pen.fillText(name.slice(0, letters), 8, top + ROW / 2);
    if (track.rows.length > 1) {
      pen.fillStyle = colours.faint;
      const kind = lane.kind === "process" ? "worker" : lane.kind;
      const more = narrow ? `pid ${lane.pid}` : `${kind}, process ${lane.pid}`;
      pen.fillText(more.slice(0, letters), 8, top + ROW * 1.5);
    }
  }
  pen.restore();
}

function drawTip(pen, w, h) {
  const i = hovered;
  const lines = [label(i), isSpan(i)
    ? `${duration(end[i] - start[i])} from ${duration(start[i])}` : `at ${duration(start[i])}`];
  if (textOf(i)) lines.push(textOf(i));
  const size = Math.max(...lines.map(line => pen.measureText(line).width)) + 16;
  const x = Math.min(mouse.x + 14, w - size - 4);
  const y = Math.min(mouse.y + 14, h - lines.length * 17 - 10);
  pen.fillStyle = colours.panel;
  pen.strokeStyle = colours.faint;
  pen.fillRect(x, y, size, lines.length * 17 + 8);
  pen.strokeRect(x + 0.5, y + 0.5, size, lines.length * 17 + 8);
  pen.fillStyle = colours.ink;
  lines.forEach((line, k) => pen.fillText(line, x + 8, y + 13 + k * 17));
}

// The whole trace: how busy each lane was, and which part is in view.
function drawOverview() {
  const pen = prepare(overview);
  const w = overview.clientWidth - LABELS, h = overview.clientHeight;
  if (w <= 0) return;
  if (!busy || busy.w !== w || busy.pixels !== overview.width) busy = paintOverview(w, h);
  pen.drawImage(busy.painted, 0, 0, LABELS + w, h);
  const left = LABELS + view.from / length * w, right = LABELS + view.to / length * w;
  pen.fillStyle = colours.faint;
  pen.globalAlpha = 0.18;
  pen.fillRect(left, 0, right - left, h);
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.accent;
  pen.strokeRect(left + 0.5, 0.5, Math.max(right - left - 1, 2), h - 1);
}

function paintOverview(w, h) {
  const painted = document.createElement("canvas");
  painted.width = overview.width;
  painted.height = overview.height;
  const pen = painted.getContext("2d");
  pen.scale(overview.width / (LABELS + w), overview.height / h);
  const height = (h - 4) / Math.max(tracks.length, 1);
  tracks.map(track => density(track, w)).forEach((values, k) => {
    pen.fillStyle = tracks[k].lane.kind === "loop" ? colours.task
      : tracks[k].lane.kind === "process" ? colours.process : colours.pool;
    values.forEach((value, x) => {
      if (!value) return;
      pen.globalAlpha = 0.25 + 0.75 * value;
      pen.fillRect(LABELS + x, 2 + k * height, 1, Math.max(height - 1, 1));
    });
  });
  return { w, pixels: overview.width, painted };
}

function density(track, w) {
  const values = new Float32Array(w);
  for (const i of track.order) {
    if (depth[i] > 0 || kindOf(i).group === "loop") continue;
    const first = Math.min(Math.floor(start[i] / length * w), w - 1);
    const last = Math.min(Math.floor(end[i] / length * w), w - 1);
    for (let x = first; x <= last; x++) {
      const share = (Math.min(end[i], (x + 1) * length / w) - Math.max(start[i], x * length / w))
        / (length / w);
      values[x] = Math.min(values[x] + Math.max(share, 0.08), 1);
    }
  }
  return values;
}

// ---- 4 The details of one event -----------------------------------------------

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function link(i, prefix) {
  const item = element("li");
  if (prefix) item.append(element("span", prefix + " ", "faint"));
  const button = element("button", label(i), "link");
  button.addEventListener("click", () => choose(i));
  item.append(button, element("span", ` ${tracks[laneOf[i]].lane.name}, ${duration(start[i])}`, "faint"));
  return item;
}

function list(panel, title, items) {
  if (!items.length) return;
  panel.append(element("h3", title));
  const made = element("ol");
  made.append(...items);
  panel.append(made);
}

function showDetails() {
  const panel = $("details");
  panel.replaceChildren();
  if (chosen < 0) {
    panel.append(element("p", "Click an event, or press n: what it is, who caused it, and the function that made it.", "faint"));
    return;
  }
  const i = chosen, kind = kindOf(i), subject = subjectOf(i), lane = tracks[laneOf[i]].lane;
  panel.append(element("h2", label(i)), element("p", kind.what));
  const table = element("table");
  const tell = (name, value, code) => {
    if (value === "" || value === undefined) return;
    const row = element("tr");
    const cell = element("td");
    cell.append(code ? element("code", value) : value);
    row.append(element("td", name), cell);
    table.append(row);
  };
  tell("when", duration(start[i]));
  if (isSpan(i)) tell("how long", duration(end[i] - start[i]));
  tell("of", lane.run);
  tell("lane", `${lane.name} (${lane.kind === "process" ? "worker" : lane.kind}, process ${lane.pid}, thread ${lane.tid})`);
  tell("more", textOf(i));
  const made = { line: "made at", channel: "made at", span: "begun at" };
  if (subject) tell(made[subject.type] ?? "spawned at", subject.site, true);
  tell("made by", `${kind.file}:${rows[i][at.line]}`, true);
  tell("in", kind.function, true);
  panel.append(table);
  list(panel, "Caused by", causes(i).map(step => link(step.event, step.by)));
  list(panel, "Leads to", (outOf.get(i) ?? []).slice(0, 50).map(arrow => link(arrow.to, arrow.kind)));
  if (isSpan(i)) {
    const track = tracks[laneOf[i]];
    const inner = [];
    for (let k = bisect(track.order, start, start[i]); k < track.order.length && inner.length < 50; k++) {
      const other = track.order[k];
      if (start[other] > end[i]) break;
      if (parent[other] === i) inner.push(link(other));
    }
    list(panel, "During it", inner);
  }
}

function choose(i, tight) {
  chosen = i;
  if (i >= 0) {
    reveal(i, tight);
    history.replaceState(null, "", `#event=${i}`);
  }
  showDetails();
  redraw();
}

// ---- 5 Search and filters -----------------------------------------------------

let haystack = null;
function search(words) {
  const wanted = words.trim().toLowerCase();
  hits = [];
  if (wanted) {
    haystack ??= rows.map((_, i) =>
      [label(i), subjectOf(i)?.site, textOf(i), kindOf(i).file, tracks[laneOf[i]].lane.name]
        .join("\n").toLowerCase());
    for (let i = 0; i < count; i++) if (haystack[i].includes(wanted)) hits.push(i);
  }
  hitSet = new Set(hits);
  $("hits").textContent = wanted ? `${hits.length} found` : "";
  redraw();
}

function nextHit(step) {
  if (!hits.length) return;
  const here = hits.findIndex(i => i >= Math.max(chosen, 0));
  let k = hits[here] === chosen ? here + step : step > 0 ? Math.max(here, 0) : here - 1;
  k = (k + hits.length) % hits.length;
  choose(hits[k]);
}

function offerGroups() {
  const used = new Map();
  for (let i = 0; i < count; i++) {
    const group = kindOf(i).group;
    used.set(group, (used.get(group) ?? 0) + 1);
  }
  for (const [group, number] of used) {
    const chip = element("button", `${group} ${number}`, "chip");
    chip.style.setProperty("--chip", `var(--${group})`);
    chip.setAttribute("aria-pressed", "true");
    chip.title = `Show or hide the events of the group ${group}`;
    chip.addEventListener("click", () => {
      const index = groups.indexOf(group);
      hidden[index] ^= 1;
      chip.setAttribute("aria-pressed", String(!hidden[index]));
      redraw();
    });
    $("groups").append(chip);
  }
}

// ---- 6 Mouse, touch, keys -----------------------------------------------------

const mouse = { x: 0, y: 0 };
const fingers = new Map();
let moved = 0;

// The event under a point: an instant within 6 pixels first, then a span.
function find(x, y) {
  if (x < LABELS || y < AXIS) return -1;
  const inner = y - AXIS + view.y;
  const track = tracks.find(track => inner >= track.y && inner < track.y + track.height);
  const row = track?.rows[Math.floor((inner - track.y) / ROW)];
  if (!row) return -1;
  const shown = i => i !== undefined && !hidden[groupOf[i]];
  const t = timeOf(x), reach = timeOf(x + 6) - t;
  const near = bisect(row.instants, start, t - reach);
  let best = -1;
  for (let k = near; k < row.instants.length && start[row.instants[k]] <= t + reach; k++) {
    const i = row.instants[k];
    if (shown(i) && (best < 0 || Math.abs(start[i] - t) < Math.abs(start[best] - t))) best = i;
  }
  if (best >= 0) return best;
  const k = bisect(row.spans, end, t - reach / 3);
  const i = row.spans[k];
  return shown(i) && start[i] <= t + reach / 3 ? i : -1;
}

canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  moved = 0;
  canvas.classList.add("dragging");
});

canvas.addEventListener("pointermove", event => {
  [mouse.x, mouse.y] = [event.offsetX, event.offsetY];
  const before = fingers.get(event.pointerId);
  if (!before) {
    const found = find(event.offsetX, event.offsetY);
    if (found !== hovered || found >= 0) { hovered = found; redraw(); }
    return;
  }
  hovered = -1;
  moved += Math.abs(event.offsetX - before.offsetX) + Math.abs(event.offsetY - before.offsetY);
  if (fingers.size === 2) {
    const other = [...fingers.values()].find(finger => finger.pointerId !== event.pointerId);
    const was = Math.abs(before.offsetX - other.offsetX), is = Math.abs(event.offsetX - other.offsetX);
    if (was > 5 && is > 5) zoom(was / is, timeOf((event.offsetX + other.offsetX) / 2));
  } else {
    view.y -= event.offsetY - before.offsetY;
    pan(before.offsetX - event.offsetX);
  }
  fingers.set(event.pointerId, event);
});

function lift(event) {
  if (fingers.delete(event.pointerId) && moved < 5 && event.type === "pointerup") {
    choose(find(event.offsetX, event.offsetY));
  }
  if (!fingers.size) canvas.classList.remove("dragging");
}
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerleave", () => { hovered = -1; redraw(); });

canvas.addEventListener("wheel", event => {
  event.preventDefault();
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan(event.deltaX || event.deltaY);
  } else if (event.offsetX < LABELS) {
    view.y += event.deltaY;
    redraw();
  } else {
    zoom(Math.exp(event.deltaY * 0.0015), timeOf(event.offsetX));
  }
}, { passive: false });

function overviewTo(event) {
  if (!(event.buttons & 1)) return;
  const t = (event.offsetX - LABELS) / (overview.clientWidth - LABELS) * length;
  const span = view.to - view.from;
  view.from = t - span / 2;
  view.to = t + span / 2;
  redraw();
}
overview.addEventListener("pointerdown", event => { overview.setPointerCapture(event.pointerId); overviewTo(event); });
overview.addEventListener("pointermove", overviewTo);

// From one event of the lane to the next that is shown.
function along(step) {
  if (chosen < 0) {
    const first = [...Array(count).keys()].find(i => end[i] >= view.from && !hidden[groupOf[i]]);
    return choose(first ?? -1);
  }
  const { order } = tracks[laneOf[chosen]];
  for (let k = order.indexOf(chosen) + step; k >= 0 && k < order.length; k += step) {
    if (!hidden[groupOf[order[k]]]) return choose(order[k]);
  }
}

// To the event of the next lane that is nearest in time.
function across(step) {
  const from = chosen < 0 ? -1 : laneOf[chosen];
  for (let k = from + step; k >= 0 && k < tracks.length; k += step) {
    const { order } = tracks[k];
    if (!order.length) continue;
    const t = chosen < 0 ? view.from : start[chosen];
    return choose(order[Math.min(bisect(order, start, t), order.length - 1)]);
  }
}

const keys = {
  ArrowLeft: () => pan(-width() / 8), ArrowRight: () => pan(width() / 8),
  ArrowUp: () => { view.y -= ROW * 3; redraw(); }, ArrowDown: () => { view.y += ROW * 3; redraw(); },
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "0": showAll,
  n: () => along(1), p: () => along(-1), j: () => across(1), k: () => across(-1),
  c: () => { const [step] = causes(chosen); if (chosen >= 0 && step) choose(step.event); },
  e: () => { const [arrow] = outOf.get(chosen) ?? []; if (arrow) choose(arrow.to); },
  f: () => { if (chosen >= 0) choose(chosen, true); },
  "/": () => { $("search").focus(); $("search").select(); },
  "?": () => $("help").click(),
  Escape: () => choose(-1),
};

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === $("search")) {
    if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") canvas.focus();
    else return;
  } else if (keys[event.key] && !(event.target.tagName === "BUTTON" && event.key === "Enter")) {
    keys[event.key]();
  } else return;
  event.preventDefault();
});

$("search").addEventListener("input", event => search(event.target.value));
$("in").addEventListener("click", () => zoom(0.6));
$("out").addEventListener("click", () => zoom(1 / 0.6));
$("fit").addEventListener("click", showAll);
$("help").addEventListener("click", () => {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
  redraw();
});

// ---- Begin ----------------------------------------------------------------------

function resize() {
  LABELS = document.documentElement.clientWidth < 700 ? 90 : 170;
  redraw();
}

document.title = `Trace of ${doc.program}`;
$("title").textContent = document.title;
$("facts").textContent = `${count} events in ${duration(length)} on ${lanes.length} lane${lanes.length === 1 ? "" : "s"}`;
if (doc.lost > 0) {
  $("lost").hidden = false;
  $("lost").textContent = `${doc.lost} events were lost: the rings were full.`;
}
readColours();
offerGroups();
new ResizeObserver(resize).observe($("stage"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
resize();
const asked = /^#event=(\d+)$/.exec(location.hash);
choose(asked && Number(asked[1]) < count ? Number(asked[1]) : -1, Boolean(asked));
if (location.hash === "#frames") document.documentElement.dataset.frames = frames().join(" ");
document.documentElement.dataset.ready = String(count);

// What the script takes for each frame of a flight into the trace and along it, in
// milliseconds, in order of size. Beside them, the most shapes that one of them drew, in
// how many rows of how many pixels: those bound it, and not the number of events.
function frames() {
  const times = [];
  let most = 0;
  const frame = step => {
    const before = performance.now();
    measure();
    step();
    clampView();
    drawn = 0;
    draw();
    drawOverview();
    times.push(performance.now() - before);
    most = Math.max(most, drawn);
  };
  for (let k = 0; k < 60; k++) frame(() => { view.from += (length * 0.4 - view.from) / 12; view.to += (length * 0.41 - view.to) / 12; });
  for (let k = 0; k < 60; k++) frame(() => { const by = (view.to - view.from) / 20; view.from += by; view.to += by; });
  for (let k = 0; k < 60; k++) frame(() => { view.from -= view.from / 12; view.to += (length - view.to) / 12; });
  const rows = tracks.reduce((sum, track) => sum + track.rows.length, 0);
  document.documentElement.dataset.drawn = [most, rows, Math.ceil(width())].join(" ");
  return times.sort((a, b) => a - b).map(time => time.toFixed(1));
}
})();
