// The page as a picture says it. Elements stay where they are, and only what is another text is changed, so that whoever
// reads, has selected or tabs through something is not thrown out of it.

import { chart, span } from "./line.js";

const by = (id) => document.getElementById(id);

// answers waits for what the network brings, and says in plain words that it brings nothing: each browser has its own.
export async function answers(promise) {
  try {
    return await promise;
  } catch (fault) {
    throw fault instanceof TypeError ? new Error("this node does not answer") : fault;
  }
}

// plainly is what a refusal of the API of etcd says, in the words of package plain.
export const plainly = (text) => text.replace(/^etcdserver: /, "")
  .replace(/^(rpc error: code = \w+ desc = )?context deadline exceeded$/, "no answer came in time")
  .replace(/^(rpc error: code = \w+ desc = )?context canceled$/, "it was ended before an answer came");

// unencrypted is what whoever types a secret is told of this connection, "" if there is nothing to tell.
export const unencrypted = () => (location.protocol === "http:" && !/^(localhost|127\.|\[::1\])/.test(location.hostname)
  ? "This connection is not encrypted: whoever reads the network sees what you type." : "");

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// plural is how many of something there are.
export const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// rows makes the children of an element those of a list, one for each key.
export function rows(parent, list, key, make, update) {
  const there = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  let before = null;
  for (const one of list) {
    const name = String(key(one));
    let e = there.get(name);
    if (e) {
      there.delete(name);
    } else {
      e = make(one);
      e.dataset.key = name;
    }
    const place = before ? before.nextElementSibling : parent.firstElementChild;
    if (place !== e) parent.insertBefore(e, place);
    update(e, one);
    before = e;
  }
  for (const e of there.values()) e.remove();
}

// heads are the heads of the columns of a table. One whose rows fold on a narrow screen is told to be one all the same: a
// browser takes what is laid out otherwise for none.
function heads(body) {
  const of = body.closest("table"), folds = of.closest(".folds");
  if (folds && !of.hasAttribute("role")) {
    of.setAttribute("role", "table");
    for (const group of [of.tHead, body]) group.setAttribute("role", "rowgroup");
    for (const tr of of.tHead.rows) tr.setAttribute("role", "row");
    for (const th of of.tHead.querySelectorAll("th")) th.setAttribute("role", "columnheader");
  }
  return { folds, names: [...of.tHead.rows[0].cells].map((th) => th.textContent) };
}

// table makes rows of cells, the first of each its head.
export function table(body, list, key, cells) {
  const { folds, names } = heads(body);
  rows(body, list, key, (one) => {
    const tr = document.createElement("tr");
    cells(one).forEach((_, i) => {
      const cell = document.createElement(i === 0 ? "th" : "td");
      if (i === 0) cell.scope = "row";
      if (folds) {
        cell.dataset.head = names[i];
        cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
      }
      tr.append(cell);
    });
    if (folds) tr.setAttribute("role", "row");
    return tr;
  }, (tr, one) => cells(one).forEach((text, i) => put(tr.children[i], text)));
}

// shape is a text without its figures, which change: a line stays the same line while its seconds run.
const shape = (text) => text.replace(/\d+(\.\d+)?/g, "#");

// shapes returns a key for each of a list, by its shape, and its place among those of the same one.
function shapes(list, text) {
  const seen = new Map(), keys = new Map();
  for (const one of list) {
    const key = shape(text(one)), n = seen.get(key) || 0;
    seen.set(key, n + 1);
    keys.set(one, `${n} ${key}`);
  }
  return (one) => keys.get(one);
}

const words = { wrong: "Wrong", note: "Note", open: "Open to others", told: "" };

function lines(list, of) {
  rows(list, of, shapes(of, (line) => line.kind + line.text), (line) => {
    const li = document.createElement("li");
    li.dataset.kind = line.kind;
    if (words[line.kind]) {
      const kind = document.createElement("strong");
      kind.textContent = words[line.kind];
      li.append(kind, " ");
    }
    li.append(document.createElement("span"));
    return li;
  }, (li, line) => {
    put(li.querySelector("span"), line.text);
    const commands = line.commands || [];
    if (li.dataset.commands === commands.join("\n")) return;
    li.dataset.commands = commands.join("\n");
    for (const old of li.querySelectorAll("pre")) old.remove();
    for (const command of commands) {
      const pre = document.createElement("pre"), code = document.createElement("code");
      code.textContent = command;
      pre.tabIndex = 0;
      pre.append(code);
      li.append(pre);
    }
  });
}

const figures = [
  ["rate", "Commands a second", (v) => `${v.toFixed(v < 10 ? 1 : 0)}`],
  ["lagSeconds", "Lag, seconds", (v) => `${v.toFixed(2)} s`],
  ["lagCommands", "Lag, commands", (v) => String(v)],
  ["lagBytes", "Lag, bytes", (v) => bytes(v)],
];

function bytes(n) {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < names.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 ? n : n.toFixed(1)} ${names[i]}`;
}

// past is what lines are drawn of, by region and figure.
const past = new Map();

// remember adds a picture to it.
export function remember(picture) {
  const at = Date.parse(picture.at);
  for (const r of picture.regions) {
    if (!past.has(r.name)) past.set(r.name, { points: { rate: [], lagSeconds: [], lagCommands: [], lagBytes: [] } });
    const of = past.get(r.name), now = r.figures;
    let rate = null;
    if (of.position !== undefined && now.position !== null && now.position >= of.position && at > of.at) {
      rate = (now.position - of.position) * 1000 / (at - of.at);
    }
    of.position = now.position === null ? undefined : now.position;
    of.at = at;
    for (const [name, value] of Object.entries({ ...now, rate })) {
      const points = of.points[name];
      if (!points) continue; // the position
      points.push({ at, value });
      while (points.length && points[0].at < at - span) points.shift();
    }
  }
}

// forget makes a gap in every line: nothing was known from then on.
export function gap(at) {
  for (const of of past.values()) {
    of.position = undefined;
    for (const points of Object.values(of.points)) {
      if (points.length && points.at(-1).value !== null) points.push({ at, value: null });
    }
  }
}

const charts = new WeakMap(); // of cards

function newRegion(r) {
  const card = by("region").content.firstElementChild.cloneNode(true);
  card.id = `region-${r.name}`;
  const title = card.querySelector("h3");
  title.id = `region-${r.name}-title`;
  card.setAttribute("aria-labelledby", title.id);
  card.querySelector("[data-of=nodes]").setAttribute("aria-label", `Nodes of ${r.name}`);
  const own = {};
  for (const [name, text, write] of figures) {
    own[name] = chart(text, write);
    card.querySelector("[data-of=charts]").append(own[name].figure);
  }
  charts.set(card, own);
  return card;
}

function region(card, r, picture) {
  const field = (name) => card.querySelector(`[data-of=${name}]`);
  card.dataset.role = r.role === "-" ? "unknown" : r.role;
  card.dataset.writes = r.takesWrites;
  for (const name of ["name", "epoch", "position", "revision", "leader", "voters", "lag"]) put(field(name), r[name]);
  put(field("role"), r.role === "-" ? "unknown" : r.role);
  put(field("doing"), doing(r));
  put(field("problem"), r.problem || "");
  field("problem").hidden = !r.problem;
  for (const name of ["fence", "late"]) {
    put(field(name), r[name] || "");
    card.querySelector(`[data-row=${name}]`).hidden = !r[name];
  }
  for (const name of ["nodeLoss", "regionLoss"]) {
    put(field(name), r[name].text);
    field(name).dataset.cost = r[name].cost;
  }
  const own = charts.get(card), of = past.get(r.name);
  const now = Date.parse(picture.at);
  for (const [name] of figures) {
    // A primary has no lag: nothing is drawn, rather than nothing known.
    own[name].figure.hidden = name !== "rate" && r.role === "primary";
    if (of) own[name].show(of.points[name], now);
  }
  field("nodes").hidden = !(r.nodes && r.nodes.length);
  table(field("nodes").querySelector("tbody"), r.nodes || [], (n) => n.name, (n) => [n.name, n.state, n.position,
    n.version, n.store, n.log, n.at]);
  (r.nodes || []).forEach((n, i) => {
    field("nodes").querySelector("tbody").children[i].dataset.well = n.well;
  });
}

function doing(r) {
  if (r.takesWrites) return "takes writes";
  if (r.role === "-") return "nobody of it answers";
  if (r.role === "secondary" && r.source) return `follows ${r.source}${r.connected ? "" : ", and no stream comes from there"}`;
  return "takes no writes";
}

let last = null; // the picture that is shown

// others is the flag that names nodes, those of other regions than the one that is silent first, three at most.
function others(picture) {
  const own = (r) => (r.nodes || []).some((n) => n.name === picture.asked);
  const urls = [...picture.regions].sort((a, b) => own(a) - own(b)).flatMap((r) => (r.nodes || []).slice(0, 2))
    .map((n) => n.at.split(" ")[0]).filter((url) => url && url !== "-" && url !== "unknown").slice(0, 3);
  return urls.length ? ` --endpoints ${urls.join(",")}` : "";
}

// stale says of all that is shown that it was so then, and is not known now: why is "" while it is new.
export function stale(why, seconds) {
  for (const p of document.querySelectorAll(".asof")) {
    p.hidden = why === "" || !last;
    put(p, p.hidden ? "" : `Not known now: this was so ${seconds} s ago.`);
  }
  if (why === "" || !last) return;
  document.title = `(?) ${last.fleet} – Mimir`;
  lines(by("wrong"), [{ kind: "wrong", text: `Nothing newer is known: ${why}. Open the console of another node, or ask others:`,
    commands: [`mimir status${others(last)}`] }, ...last.lines.filter((l) => l.kind === "wrong" || l.kind === "note")
    .map((l) => ({ ...l, text: `Before that: ${l.text}` }))]);
}

// show makes the page what a picture says.
export function show(picture) {
  last = picture;
  document.title = `${picture.wrong ? "(!) " : ""}${picture.fleet} – Mimir`;
  put(by("fleet"), picture.fleet);
  put(by("primary"), picture.primary || "none known");
  const primary = picture.regions.find((r) => r.name === picture.primary);
  put(by("primary-away"), primary && primary.role === "-" ? "(nobody of it answers)" : "");
  put(by("epoch"), picture.epoch);
  put(by("leases"), String(picture.leases));
  put(by("asked"), picture.asked);
  const wrong = picture.lines.filter((l) => l.kind === "wrong");
  lines(by("wrong"), wrong.length ? picture.lines.filter((l) => l.kind === "wrong" || l.kind === "note")
    : [{ kind: picture.wrong ? "wrong" : "told", text: picture.wrong || "Nothing is known to be wrong." },
      ...picture.lines.filter((l) => l.kind === "note")]);
  lines(by("told"), picture.lines.filter((l) => l.kind === "told" || l.kind === "open"));
  rows(by("regions"), picture.regions, (r) => r.name, newRegion, (card, r) => region(card, r, picture));
  const votes = (picture.votes.length ? picture.votes : ["Nobody that was asked says anything of votes."])
    .map((text) => ({ text }));
  rows(by("votes"), votes, shapes(votes, (v) => v.text), () => document.createElement("li"), (li, v) => put(li, v.text));
  table(by("voters"), picture.voters || [], (v) => v.name, (v) => [v.name, v.priority, v.state]);
  by("voters-box").hidden = !(picture.voters && picture.voters.length);
  table(by("slots"), picture.slots || [], (s) => s.region + s.from, (s) => [s.region, s.from, s.position, s.lag,
    s.state]);
  const certificates = picture.certificates || [];
  table(by("certificates"), certificates, (c) => certificates.indexOf(c), (c) => [c.node, c.block, c.kind, c.subject,
    c.notAfter ? c.notAfter.slice(0, 10) : "–", c.state || "good"]);
  [...by("certificates").children].forEach((tr, i) => { tr.dataset.state = certificates[i].state || "good"; });
  for (const [name, list] of [["slots", picture.slots], ["certificates", certificates]]) {
    by(name).closest("section").hidden = !(list && list.length);
  }
}
