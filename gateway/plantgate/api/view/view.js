// The live view: reads /live (and /story, where there is one) and draws what it says.
// Everything that comes from outside is set as text, never as markup: tag names are anyone's to choose.

const TREND_SECONDS = 120;
const TREND_SECONDS_LEAST = 20;
const HELD_MS = 2600;
const TAGS_SHOWN = 300;
const EVENTS_KEPT = 200;
const SILENT_MS = 5000;

const by = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });

function make(name, properties = {}, ...children) {
  const { className, ...rest } = properties;
  const element = document.createElement(name);
  if (className) element.className = className;
  Object.assign(element, rest);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(element, className) {
  if (element.className !== className) element.className = className;
}

const values = (number) => `${count.format(number)} ${number === 1 ? "value" : "values"}`;

function rate(perSecond) {
  return perSecond >= 100 ? count.format(Math.round(perSecond)) : short.format(Math.round(perSecond * 10) / 10);
}

function span(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes >= 100 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString("en-GB");
}

// ---- what is known ----

const known = { status: null, at: 0, linked: false, since: Date.now(), started: null, opened: performance.now() };
const tags = new Map();
const flowHistory = new Map();
const useStates = new Map();
const catchingUp = new Map();
const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "line", "good", "bad", "wait", "in", "out", "queue"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

// The gateway's clock, so that ages are right on a device whose own clock is off.
function gatewayNow() {
  return known.status === null ? Date.now() : Date.parse(known.status.now) + (performance.now() - known.at);
}

const uses = (status) =>
  Object.entries(status.connections).flatMap(([name, connection]) =>
    connection.uses.map((use) => ({ name, type: connection.type, ...use })),
  );

const destinations = (status) =>
  Object.entries(status.flows).flatMap(([flow, figures]) =>
    Object.entries(figures.destinations).map(([name, balance]) => ({ flow, name, ...balance })),
  );

// How far back the trends reach: what has been seen, up to two minutes, so that a page just opened is not empty.
function trendSeconds() {
  return Math.min(TREND_SECONDS, Math.max(TREND_SECONDS_LEAST, (performance.now() - known.opened) / 1000));
}

// ---- the verdict ----

function verdict(status) {
  const ends = destinations(status);
  const sum = (field) => ends.reduce((total, end) => total + end[field], 0);
  const away = uses(status).filter((use) => use.state === "away");
  const sinks = away.filter((use) => use.role === "sink");
  const sources = away.filter((use) => use.role === "source");
  const queued = sum("queued");
  const dropped = sum("dropped");
  const flows = Object.values(status.flows);
  const lost = flows.reduce((total, flow) => total + flow.lost, 0);
  const gaps = flows.reduce((total, flow) => total + flow.gaps, 0);
  const off = ends.find((end) => end.difference !== 0);
  const named = names(away);
  const longest = Math.max(0, ...away.map((use) => use.since_seconds));
  const safe = queued === 1 ? "1 value is safe on disk" : `${values(queued)} safe on disk`;

  if (off) {
    return ["bad", `The balance of ${off.flow} is off by ${count.format(off.difference)}`, "This is a fault of the gateway: please report it."];
  }
  if (status.problem) return ["bad", "Something needs you", status.problem];
  const aside = sum("set_aside");
  const losses = [
    dropped ? `${values(dropped)} dropped by a limit of the outbox, named in gap records` : "",
    lost ? `${values(lost)} lost before they reached the gateway, named in gap records` : "",
    aside ? `${values(aside)} refused by their destination, kept in its dead-letter file` : "",
  ].filter(Boolean);
  const tail = losses.join("; ");
  if (sinks.length) {
    const nothing = losses.length ? "" : ", nothing lost";
    return ["waiting", `${named} away for ${span(longest)}: ${safe}${nothing}`, tail || reasons(away)];
  }
  if (sources.length) {
    return ["waiting", `${named} away for ${span(longest)}: waiting for it, everything received is safe`, tail || reasons(away)];
  }
  if (uses(status).some((use) => use.state === "starting")) return ["waiting", "Starting", "Connections are being made."];
  const behind = Math.max(0, ...ends.map((end) => end.behind_seconds));
  if (queued && behind > 3) {
    return ["waiting", `Catching up: ${values(queued)} on the way, ${span(behind)} behind`, tail || "Nothing lost."];
  }
  const delivered = `${values(sum("delivered"))} delivered` + (queued ? `, ${count.format(queued)} on the way` : "");
  if (losses.length) return ["waiting", `Everything else is delivered: ${tail}`, `${delivered}.`];
  if (!ends.length) return ["waiting", "No flow runs", ""];
  const gapNote = gaps ? ` ${count.format(gaps)} gap ${gaps === 1 ? "record" : "records"} from the sources, nothing known lost.` : "";
  return ["good", "All values delivered", `${delivered}.${gapNote}`];
}

function names(list) {
  const unique = [...new Set(list.map((use) => use.name))];
  return unique.length < 3 ? unique.join(" and ") : `${unique.length} connections`;
}

const reasons = (list) => [...new Set(list.map((use) => use.reason).filter(Boolean))].slice(0, 2).join("; ");

function drawVerdict() {
  document.body.classList.toggle("stale", !known.linked && known.status !== null);
  if (!known.linked) {
    const silent = (Date.now() - known.since) / 1000;
    show(by("link"), "pill bad");
    put(by("link"), "no gateway");
    show(by("verdict"), "bad");
    const shown = known.status === null ? "" : `What is shown below is from ${clock(known.status.now)}. `;
    put(by("sentence"), `The gateway has not answered for ${span(silent)}`);
    put(by("detail"), `${shown}Trying again by itself; what it had accepted is on its disk.`);
    return;
  }
  show(by("link"), "pill good");
  put(by("link"), "live");
  const [tone, sentence, detail] = verdict(known.status);
  show(by("verdict"), tone);
  put(by("sentence"), sentence);
  put(by("detail"), detail);
}

// ---- connections and flows ----

// The process a connection lives in, if it is not the gateway's own.
function cellOf(status, connection) {
  const found = Object.entries(status.cells ?? {}).find(([, cell]) => cell.connections.includes(connection));
  if (!found) return "";
  const [name, cell] = found;
  const again = cell.restarts === 0 ? "" : ` (started again ${count.format(cell.restarts)} ${cell.restarts === 1 ? "time" : "times"})`;
  return `in cell ${name}${again}`;
}

function drawConnections(status) {
  const rows = uses(status).map((use) => {
    const doing = { source: "reads from", camera: "sees by" }[use.role] ?? "writes to";
    const figures = [`${use.type}, ${use.flow} ${doing} it`];
    const cell = cellOf(status, use.name);
    if (cell) figures.push(cell);
    if (use.role === "source" && use.desired) figures.push(`${count.format(use.live)} of ${count.format(use.desired)} tags live`);
    const counters = Object.entries(use.counters).filter(([, number]) => number).slice(0, 8);
    const tidy = counters.map(([name, number]) => `${name.replaceAll("_", " ")} ${count.format(number)}`).join(" · ");
    return make("li", {},
      make("div", { className: "line" },
        make("b", { textContent: use.name, title: use.name }),
        make("span", { className: `state ${use.state}`, textContent: `${use.state} ${span(use.since_seconds)}` })),
      make("p", { textContent: figures.join(" · ") }),
      use.state === "away" && use.reason ? make("p", { textContent: use.reason }) : null,
      tidy ? make("p", { textContent: tidy }) : null);
  });
  by("connections").replaceChildren(...rows);
}

const flowCards = new Map();

function flowCard(name) {
  const card = make("section", { className: "card" });
  const rates = make("canvas");
  const queue = make("canvas");
  const parts = {
    card, rates, queue,
    path: make("div", { className: "path" }),
    balances: make("div"),
    most: make("span"),
    peak: make("span"),
  };
  card.append(
    make("h2", { textContent: name }),
    parts.path,
    parts.balances,
    make("div", { className: "charts" },
      make("figure", {}, make("figcaption", {}, make("span", { className: "key", textContent: "in" }), make("span", { className: "key out", textContent: "out" }), parts.most), rates),
      make("figure", {}, make("figcaption", {}, make("span", { className: "key queue", textContent: "queued on disk" }), parts.peak), queue)));
  by("flows").append(card);
  flowCards.set(name, parts);
  return parts;
}

function endBox(status, flow, role, name) {
  const connection = status.connections[name];
  const use = connection?.uses.find((one) => one.flow === flow && one.role === role);
  const state = use?.state ?? "starting";
  const said = state === "up" && role === "source" && use.desired ? `${count.format(use.live)} tags live` : `${state} ${span(use?.since_seconds ?? 0)}`;
  return make("div", { className: `box ${state}` },
    make("b", { textContent: name, title: name }),
    make("span", { textContent: connection?.type ?? "" }),
    make("span", { textContent: said }));
}

function arrow(perSecond, note) {
  return make("div", { className: perSecond > 0 ? "arrow" : "arrow still" },
    make("b", { textContent: rate(perSecond) }), make("small", { textContent: note }));
}

function balanceRow(name, balance, several) {
  const part = (label, number, className = "") =>
    make("div", { className }, make("dt", { textContent: label }), make("dd", { textContent: count.format(number) }));
  const sign = (text) => make("span", { className: "sign", textContent: text });
  const aside = balance.set_aside ? [part("of those refused, in the dead-letter file", balance.set_aside, "some")] : [];
  return make("dl", { className: "balance" },
    several ? make("p", { className: "toward", textContent: `to ${name}` }) : null,
    part("accepted", balance.accepted), sign("="),
    part("delivered", balance.delivered), sign("+"),
    part("queued", balance.queued, balance.queued > 0 && balance.behind_seconds > 3 ? "some" : ""), sign("+"),
    part("dropped", balance.dropped, balance.dropped ? "some" : ""),
    ...aside,
    part("difference", balance.difference, balance.difference ? "difference off" : "difference"));
}

function drawFlows(status) {
  for (const [name, parts] of flowCards) {
    if (!(name in status.flows)) {
      parts.card.remove();
      flowCards.delete(name);
    }
  }
  for (const [name, flow] of Object.entries(status.flows)) {
    const parts = flowCards.get(name) ?? flowCard(name);
    const ends = Object.entries(flow.destinations);
    const out = ends.reduce((total, [, end]) => total + end.rate_out, 0);
    const queued = Math.max(0, ...ends.map(([, end]) => end.queued));
    const share = flow.outbox.bytes_max ? Math.min(1, flow.outbox.bytes / flow.outbox.bytes_max) : 0;
    const fill = make("i");
    fill.style.width = `${Math.max(share * 100, queued ? 1 : 0)}%`;
    const outbox = make("div", { className: "box up" },
      make("b", { textContent: "outbox on disk" }),
      make("div", { className: "fill", title: "of the disk it may use" }, fill),
      make("span", { textContent: `${size(flow.outbox.bytes)} of ${size(flow.outbox.bytes_max)}` }));
    const sources = flow.sources ?? flow.from ?? [];
    parts.path.replaceChildren(
      make("div", { className: "stack" }, ...sources.map((source) => endBox(status, name, "source", source))),
      arrow(flow.rate_in, "values/s in"),
      outbox,
      arrow(out, "values/s out"),
      make("div", { className: "stack" }, ...ends.map(([end]) => endBox(status, name, "sink", end))));
    parts.balances.replaceChildren(...ends.map(([end, balance]) => balanceRow(end, balance, ends.length > 1)));
    drawHistory(name, parts, flow.rate_in, out, queued);
  }
}

function drawHistory(name, parts, rateIn, rateOut, queued) {
  const now = gatewayNow();
  const history = flowHistory.get(name) ?? [];
  flowHistory.set(name, history);
  history.push({ at: now, in: rateIn, out: rateOut, queued });
  while (history[0].at < now - TREND_SECONDS * 1000) history.shift();
  const most = Math.max(1, ...history.map((one) => Math.max(one.in, one.out)));
  const peak = Math.max(1, ...history.map((one) => one.queued));
  put(parts.most, `up to ${rate(most)} values/s`);
  put(parts.peak, `up to ${count.format(peak)}`);
  const rates = canvas(parts.rates);
  line(rates, history, (one) => one.in / most, colours.in, now);
  line(rates, history, (one) => one.out / most, colours.out, now);
  line(canvas(parts.queue), history, (one) => one.queued / peak, colours.queue, now, true);
}

// ---- drawing ----

function canvas(element) {
  const box = element.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  if (element.width !== width || element.height !== height) {
    element.width = width;
    element.height = height;
  }
  const pen = element.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, box.width, box.height);
  return { pen, width: box.width, height: box.height };
}

// A line of what `heightOf` (0 to 1) says of each point, over the time the trends reach back; null leaves a hole.
function line({ pen, width, height }, points, heightOf, colour, now, filled = false) {
  const x = (at) => width * (1 - (now - at) / (trendSeconds() * 1000));
  const y = (share) => height - 2 - share * (height - 4);
  pen.beginPath();
  let first = null;
  let last = null;
  for (const point of points) {
    const share = heightOf(point);
    if (share === null) {
      last = null;
      continue;
    }
    if (last === null) pen.moveTo(x(point.at), y(share));
    else pen.lineTo(x(point.at), y(share));
    first ??= point;
    last = point;
  }
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.lineJoin = "round";
  pen.stroke();
  if (filled && first && last) {
    pen.lineTo(x(last.at), height);
    pen.lineTo(x(first.at), height);
    pen.globalAlpha = 0.22;
    pen.fillStyle = colour;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

// ---- tags ----

const severity = (quality) => (quality.startsWith("Good") ? "good" : quality.startsWith("Uncertain") ? "uncertain" : "bad");

const visible = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tag = tags.get(entry.target.dataset.tag);
    if (tag) tag.visible = entry.isIntersecting;
  }
}, { rootMargin: "60px" });

function takeTags(changed) {
  const now = gatewayNow();
  let added = false;
  for (const [name, [value, quality, time]] of Object.entries(changed)) {
    let tag = tags.get(name);
    if (tag === undefined) {
      tag = { name, trend: [], row: null, visible: false };
      tags.set(name, tag);
      added = true;
    }
    Object.assign(tag, { value, quality, time: time === null ? null : Date.parse(time), changed: now });
    const number = typeof value === "boolean" ? Number(value) : value;
    tag.trend.push({ at: now, number: typeof number === "number" ? number : null, bad: severity(quality) === "bad" });
  }
  if (added) listTags();
  drawTags();
}

// The path that all tags share; it stands once beside the heading instead of in every row.
function sharedPath(names) {
  if (names.length < 2) return "";
  let shared = names[0].slice(0, names[0].lastIndexOf("/") + 1);
  for (const name of names) {
    while (shared && !name.startsWith(shared)) shared = shared.slice(0, shared.lastIndexOf("/", shared.length - 2) + 1);
  }
  return shared;
}

function listTags() {
  const wanted = by("filter").value.trim().toLowerCase();
  const found = [...tags.values()].filter((tag) => tag.name.toLowerCase().includes(wanted));
  found.sort((one, other) => (one.name < other.name ? -1 : 1));
  const shared = sharedPath([...tags.keys()]);
  visible.disconnect();
  const rows = found.slice(0, TAGS_SHOWN).map((tag) => {
    tag.row ??= tagRow(tag);
    put(tag.row.name, tag.name.slice(shared.length));
    visible.observe(tag.row.row);
    return tag.row.row;
  });
  by("tag-rows").replaceChildren(...rows);
  const shown = found.length === tags.size ? count.format(tags.size) : `${count.format(found.length)} of ${count.format(tags.size)}`;
  put(by("tag-count"), shared ? `${shown} below ${shared}` : shown);
  const rest = found.length - rows.length;
  put(by("tag-rest"), rest > 0 ? `and ${count.format(rest)} more: filter by name to see them` : "");
}

function tagRow(tag) {
  const parts = {
    name: make("td", { className: "name", title: tag.name }),
    value: make("td", { className: "number value" }),
    quality: make("td", { className: "quality" }),
    age: make("td", { className: "number age" }),
    trend: make("canvas"),
  };
  parts.row = make("tr", {},
    parts.name, parts.value, parts.quality, parts.age, make("td", { className: "trend" }, parts.trend));
  parts.row.dataset.tag = tag.name;
  return parts;
}

function drawTags() {
  const now = gatewayNow();
  for (const tag of tags.values()) {
    while (tag.trend.length > 1 && tag.trend[1].at < now - TREND_SECONDS * 1000) tag.trend.shift();
    if (tag.row === null) continue;
    const age = tag.time === null ? null : (now - tag.time) / 1000;
    const value = tag.value === null ? "–" : typeof tag.value === "number" ? short.format(tag.value) : String(tag.value);
    put(tag.row.value, value);
    put(tag.row.quality, tag.quality);
    put(tag.row.age, age === null ? "no time" : span(age));
    show(tag.row.row, `${severity(tag.quality)}${age !== null && age > 10 ? " old" : ""}`);
    if (tag.visible) drawTrend(tag, now);
  }
  put(by("trend-reach"), `last ${span(trendSeconds())}`);
}

// A value that a machine reports only when it changes holds until the next: faint, since nobody has measured it there.
function held(points, now) {
  const steps = [];
  points.forEach((point, index) => {
    steps.push(point);
    const until = points[index + 1]?.at ?? now;
    if (until - point.at > HELD_MS) steps.push({ ...point, at: until });
  });
  return steps;
}

function broken(points) {
  const parts = [];
  points.forEach((point, index) => {
    if (index && point.at - points[index - 1].at > HELD_MS) parts.push({ at: point.at, number: null });
    parts.push(point);
  });
  return parts;
}

function drawTrend(tag, now) {
  const target = canvas(tag.row.trend);
  const numbers = tag.trend.filter((point) => point.number !== null).map((point) => point.number);
  if (!numbers.length) return;
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  const share = (point) => (point.number === null ? null : high > low ? (point.number - low) / (high - low) : 0.5);
  line(target, held(tag.trend, now), share, colours.line, now);
  line(target, broken(tag.trend), share, known.linked ? colours.in : colours.soft, now);
  target.pen.fillStyle = colours.bad;
  for (const point of tag.trend) {
    if (!point.bad) continue;
    const x = target.width * (1 - (now - point.at) / (trendSeconds() * 1000));
    target.pen.fillRect(x - 1, target.height - 4, 2.5, 4);
  }
}

// ---- what happened ----

// The gateway's log lines in an operator's words; a line that is not here is shown as it was logged.
const SENTENCES = {
  "away, trying again until it returns": (one) => `${one.connection} went away`,
  connected: (one) => `${one.connection} is ${wasAway.has(one.connection) ? "back" : "there"}`,
  serving: () => "gateway serves this page",
  running: () => "gateway is running",
  stopping: () => "gateway is stopping",
  stopped: () => "gateway has stopped",
};
const told = new Set();
const wasAway = new Set();

function tell(time, level, text, detail = "") {
  const list = by("events");
  const item = make("li", { className: level },
    make("time", { textContent: clock(time), dateTime: new Date(time).toISOString() }),
    make("div", {}, make("span", { textContent: text }), detail ? make("small", { textContent: detail }) : null));
  item.dataset.at = String(time);
  let before = list.firstElementChild;
  while (before && Number(before.dataset.at) > time) before = before.nextElementSibling;
  list.insertBefore(item, before);
  while (list.childElementCount > EVENTS_KEPT) list.lastElementChild.remove();
}

function takeNews(one) {
  const key = JSON.stringify(one);
  if (told.has(key)) return; // the last hundred come again with every new connection
  told.add(key);
  if (told.size > 10 * EVENTS_KEPT) told.delete(told.values().next().value);
  const time = Date.parse(one.time);
  if (Number.isNaN(time)) return;
  const sentence = SENTENCES[one.event];
  const about = one.connection || one.flow;
  const text = sentence ? sentence(one) : about ? `${about}: ${one.event}` : one.event;
  const level = one.event === "connected" ? "good" : one.level;
  if (one.event.startsWith("away")) wasAway.add(one.connection);
  tell(time, level, text, one.text.replace(/^reason /, ""));
}

// How long an outage was and how fast it was made good is nobody's log line: it follows from two looks at the status.
function watchOutages(status) {
  const now = gatewayNow();
  for (const use of uses(status)) {
    const key = JSON.stringify([use.name, use.flow, use.role]);
    const before = useStates.get(key);
    const end = status.flows[use.flow]?.destinations[use.name];
    if (use.state === "away" && before?.state !== "away") useStates.set(key, { state: "away", at: now - use.since_seconds * 1000 });
    else if (use.state !== "away") {
      if (before?.state === "away" && use.state === "up" && use.role === "sink" && end) {
        catchingUp.set(key, { name: use.name, from: now, outage: (now - before.at) / 1000, delivered: before.delivered ?? end.delivered });
      }
      useStates.set(key, { state: use.state, at: now });
    }
    const state = useStates.get(key);
    if (use.state === "away" && end) state.delivered = end.delivered;
    const catching = catchingUp.get(key);
    if (catching && end && (end.queued === 0 || end.behind_seconds < 1.5)) {
      catchingUp.delete(key);
      const seconds = Math.max(1, Math.round((now - catching.from) / 1000));
      const late = values(Math.max(0, end.delivered - catching.delivered));
      tell(now, "good", `${catching.name} has everything again: ${late} in ${seconds === 1 ? "about a second" : `${seconds} s`}`,
        `after ${span(catching.outage)} away`);
    }
  }
}

// ---- the gateway's stream ----

let stream = null;
let lastHeard = 0;
let pause = 500;

function listen() {
  stream?.close();
  stream = new EventSource("live");
  lastHeard = performance.now();
  stream.addEventListener("status", (event) => heard(() => takeStatus(JSON.parse(event.data))));
  stream.addEventListener("tags", (event) => heard(() => takeTags(JSON.parse(event.data))));
  stream.addEventListener("news", (event) => heard(() => takeNews(JSON.parse(event.data))));
  stream.onerror = () => {
    stream.close(); // a browser gives up for good at the first answer that is not 200, such as a proxy's 503
    silent();
    setTimeout(listen, pause);
    pause = Math.min(4000, pause * 1.5);
  };
}

function heard(take) {
  lastHeard = performance.now();
  pause = 500;
  take();
}

function silent() {
  if (known.linked) {
    known.linked = false;
    known.since = Date.now();
    tell(Date.now(), "error", "the gateway does not answer");
  }
  drawVerdict();
}

function takeStatus(status) {
  const again = known.status !== null && !known.linked;
  const restarted = known.started !== null && known.started !== status.started;
  known.status = status;
  known.at = performance.now();
  known.linked = true;
  known.started = status.started;
  if (restarted) {
    tell(gatewayNow(), "good", "the gateway was restarted", "it goes on from what is on its disk");
    useStates.clear();
    catchingUp.clear();
  } else if (again) tell(gatewayNow(), "good", "the gateway answers again");
  put(by("plant"), status.plant);
  document.title = `${status.plant} · plantgate`;
  const up = (Date.parse(status.now) - Date.parse(status.started)) / 1000;
  put(by("about"), `plantgate ${status.version}, running for ${span(up)}`);
  watchOutages(status);
  drawVerdict();
  drawConnections(status);
  by("loops").hidden = Object.keys(status.deeds?.loops ?? {}).length === 0;
  drawFlows(status);
}

setInterval(() => {
  if (stream && stream.readyState !== EventSource.CLOSED && performance.now() - lastHeard > SILENT_MS) {
    stream.onerror(); // half-open: the other end is gone and nobody said so
    return;
  }
  if (!known.linked) drawVerdict();
  drawTags();
}, 1000);

// ---- the demo's own story, where there is one ----

function listenToStory() {
  const story = new EventSource("story");
  story.addEventListener("story", (event) => {
    by("story").hidden = false;
    const one = JSON.parse(event.data);
    put(by("now-playing"), one.text);
    if (one.log) tell(Date.parse(one.time), "", one.text);
  });
  story.addEventListener("counted", (event) => {
    const one = JSON.parse(event.data);
    const rows = one.rows.flatMap(([label, number, tone]) => [
      make("dt", { textContent: label }),
      make("dd", { textContent: typeof number === "number" ? count.format(number) : number, className: tone ?? "" }),
    ]);
    by("counted").replaceChildren(...rows);
    put(by("counted-note"), one.note);
  });
}

readColours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
by("filter").addEventListener("input", listTags);
listen();
fetch("story", { method: "HEAD" }).then((answer) => { if (answer.ok) listenToStory(); }, () => {});
