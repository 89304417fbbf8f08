// The view of closed loops: what the last pictures showed, what was done about them, and how long that took.
// Everything that comes from outside is set as text, never as markup.

const EVERY_MS = 1000;
const BOUNDS_MS = [5, 10, 20, 30, 40, 60, 80, 100, 120, 200, 500];
const SVG = "http://www.w3.org/2000/svg";

const by = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en-US");
const cards = new Map();

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter(Boolean));
  return element;
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

function cardOf(name) {
  if (!cards.has(name)) {
    const parts = {
      card: make("section", { className: "card loop" }),
      image: make("img", { alt: "" }),
      boxes: draw("svg", {}),
      now: make("p", { className: "now" }),
      why: make("p", { className: "quiet" }),
      figures: make("div", { className: "figures" }),
      bars: make("div", { className: "bars" }),
      recent: make("ol", { className: "recent" }),
      shown: -1,
    };
    parts.card.append(
      make("h2", { textContent: name }),
      make("div", { className: "sight" }, parts.image, parts.boxes),
      make("div", { className: "told" },
        make("div", {}, parts.now, parts.why), parts.figures,
        make("h2", { textContent: "From the picture to the outcome on record" }), parts.bars,
        make("h2", { textContent: "The last pictures" }), parts.recent),
    );
    cards.set(name, parts);
    by("all").append(parts.card);
  }
  return cards.get(name);
}

// Facts that say where they are in the picture.
const places = (look) => Object.values(look.facts).flat().filter((fact) => Array.isArray(fact?.box) && fact.box.length === 4);

function said(look) {
  const answer = look.answers[0];
  if (look.note) return ["late", look.note];
  if (!answer) return ["", places(look).length ? "no rule holds for what it shows" : "nothing to do"];
  return [answer.standing, answer.reason || { done: "written, and read back" }[answer.standing] || answer.standing];
}

function drawSight(parts, name, look) {
  if (parts.shown === look.number) return;
  parts.shown = look.number;
  parts.image.src = `looks/${encodeURIComponent(name)}/${look.number}.png`;
  parts.image.width = look.width;
  parts.image.height = look.height;
  parts.boxes.setAttribute("viewBox", `0 0 ${look.width} ${look.height}`);
  parts.boxes.replaceChildren();
  const decided = new Set(look.chosen.map((fact) => JSON.stringify(fact)));
  places(look).forEach((fact) => {
    const [x1, y1, x2, y2] = fact.box;
    const chosen = decided.has(JSON.stringify(fact)) ? "chosen" : "";
    const sure = typeof fact.confidence === "number" ? ` ${(100 * fact.confidence).toFixed(0)} %` : "";
    parts.boxes.append(
      draw("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: chosen }),
      draw("text", { x: Math.min(x1, look.width - 110), y: y1 > 20 ? y1 - 6 : y2 + 17, class: chosen }, `${fact.kind ?? ""}${sure}`),
    );
  });
}

function drawLoop(name, figures, looks) {
  const parts = cardOf(name);
  const last = looks.findLast((look) => !look.note) ?? looks.at(-1); // the last one that was judged: what is late shows in the list
  if (last) {
    const [standing, sentence] = said(last);
    drawSight(parts, name, last);
    parts.now.className = `now ${standing}`;
    parts.now.textContent = `${last.frame}: ${sentence}`;
    parts.why.textContent = `${last.milliseconds.toFixed(1)} ms` + (last.answers[0]?.entry ? ` · entry ${last.answers[0].entry}` : "");
  }
  const shown = [["pictures", figures.frames], ["acted on", figures.done], ["too late", figures.late], ["unreadable", figures.unreadable]];
  parts.figures.replaceChildren(...shown.map(([label, number]) =>
    make("div", {}, make("b", { textContent: count.format(number) }), make("span", { textContent: label }))));
  const most = Math.max(1, ...figures.bins);
  parts.bars.replaceChildren(...figures.bins.map((number, at) => {
    const label = at < BOUNDS_MS.length ? `≤ ${BOUNDS_MS[at]} ms` : `> ${BOUNDS_MS.at(-1)} ms`;
    const bar = make("i");
    bar.style.width = `${(100 * number) / most}%`;
    return make("div", { className: at > 8 ? "over" : "" }, make("span", { textContent: label }), bar, make("b", { textContent: count.format(number) }));
  }));
  parts.recent.replaceChildren(...looks.toReversed().map((look) => {
    const [standing, sentence] = said(look);
    return make("li", {},
      make("span", { textContent: look.frame, title: look.frame }),
      make("span", { className: standing, textContent: standing || "nothing", title: sentence }),
      make("span", { textContent: `${look.milliseconds.toFixed(1)} ms` }));
  }));
}

function verdict(deeds) {
  if (!deeds) return ["waiting", "This gateway does not act on machines", "Its plant file has no section `control`."];
  const stopped = Object.entries(deeds.stopped);
  if (stopped.length) return ["waiting", `${stopped.map(([name]) => name).join(", ")} stopped: no writes`, stopped.map(([, why]) => why).join("; ")];
  if (deeds.held) return ["waiting", `${count.format(deeds.held)} writes may have happened; the machine is asked`, "Nothing else is written to it meanwhile."];
  const done = deeds.answers.done ?? 0;
  return ["good", `Armed: ${count.format(done)} writes made and read back`, `${count.format(deeds.entries)} entries in the audit log, ${count.format(deeds.published)} of them under a signed checkpoint.`];
}

async function refresh() {
  try {
    const [status, looks] = await Promise.all(["status", "looks"].map(async (path) => (await fetch(path)).json()));
    by("plant").textContent = status.plant;
    by("link").className = "pill good";
    by("link").textContent = "live";
    const [tone, sentence, detail] = verdict(status.deeds);
    by("verdict").className = tone;
    by("sentence").textContent = sentence;
    by("detail").textContent = detail;
    for (const [name, figures] of Object.entries(status.deeds?.loops ?? {})) drawLoop(name, figures, looks[name] ?? []);
  } catch {
    by("link").className = "pill bad";
    by("link").textContent = "no gateway";
    by("verdict").className = "bad";
    by("sentence").textContent = "The gateway does not answer";
    by("detail").textContent = "Trying again by itself; nothing is written to machines without it.";
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
