// The map: regions as places in a ring, a line from each source to who follows it, voters that are no region below. It
// shows what the list beside it says, and no more; what is not known is no line.

import { make } from "./line.js";
import { put, rows } from "./view.js";

const by = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 44rem)");
const ring = 8; // so many have room beside each other in it

// size is that of a place, and what is around it.
const size = () => (narrow.matches ? { width: 152, height: 94, across: 340 } : { width: 190, height: 94, across: 760 });

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// places returns the middle of each of n places, and how high the map is without voters.
function places(n, { width, height, across }) {
  const middle = across / 2, edge = height / 2 + 8;
  if (!narrow.matches && n === 2) return { at: [[width / 2 + 8, edge], [across - width / 2 - 8, edge]], high: 2 * edge };
  if (!narrow.matches && n > 2 && n <= ring) {
    const wide = middle - width / 2 - 8, tall = 145;
    const at = Array.from({ length: n }, (_, i) => {
      const angle = 2 * Math.PI * i / n - Math.PI / 2;
      return [middle + wide * Math.cos(angle), edge + tall + tall * Math.sin(angle)];
    });
    return { at, high: Math.max(...at.map(([, y]) => y)) + edge };
  }
  // Two columns, down on the right and up on the left: the first above them, the last of an even number below.
  const at = [[middle, edge]], step = height + 66, pairs = Math.floor((n - 1) / 2);
  const right = Array.from({ length: pairs }, (_, i) => [across - width / 2 - 8, edge + (i + 1) * step]);
  at.push(...right);
  if (n % 2 === 0) at.push([middle, edge + (pairs + 1) * step]);
  at.push(...right.map(([, y]) => [width / 2 + 8, y]).reverse());
  return { at: at.slice(0, n), high: Math.max(...at.slice(0, n).map(([, y]) => y)) + edge };
}

// border is where the way from the middle of a place to another point leaves it.
function border([x, y], [toX, toY], { width, height }) {
  const dx = toX - x, dy = toY - y;
  const part = Math.min(width / 2 / (Math.abs(dx) || 1e-9), height / 2 / (Math.abs(dy) || 1e-9));
  return [x + dx * part, y + dy * part];
}

const role = (r) => (r.role === "-" ? "unknown" : r.role);

// behind is the lag of who follows, as short as a line has room for.
const behind = (r) => (r.connected ? r.lag : "no stream");

const vote = (r, voters) => {
  if (voters.length === 0) return "";
  const v = voters.find((one) => one.name === r.name);
  if (!v) return "does not vote";
  return v.state === "-" ? "has a vote" : stands(v);
};

// stands is how a voter stands to the primary; the list of voters says why one is not heard.
const stands = (v) => (v.state === "-" ? "is not known to support the primary"
  : v.state.startsWith("for ") ? "its vote is not heard" : v.state);

// sentence is what the map shows of a region, for who does not see it.
function sentence(r, picture) {
  if (r.role === "-") return `${r.name}: nobody of it answers; whom it follows is not known.`;
  const parts = [`${r.name} is ${r.role} of epoch ${r.epoch}, at position ${r.position}, with ${r.voters} voters that answer`];
  if (r.takesWrites) parts.push("takes writes");
  if (r.fence) parts.push(r.fence);
  if (r.source) parts.push(r.connected ? `follows ${r.source}, lag ${r.lag}` : `follows ${r.source}, and no stream comes from there`);
  else if (r.role !== "primary") parts.push("whom it follows is not known");
  const votes = vote(r, picture.voters || []);
  if (votes) parts.push(votes);
  return `${parts.join("; ")}.`;
}

const text = (parent, x, y, what, kind, anchor = "middle") => {
  const e = make("text", { x: x.toFixed(1), y: y.toFixed(1), class: kind, "text-anchor": anchor });
  e.textContent = what;
  parent.append(e);
};

function place(svg, r, [x, y], picture, s) {
  const g = make("g", { class: "place", "data-role": role(r), "data-region": r.name });
  const letters = Math.floor(s.width / 7.2);
  g.append(make("rect", { x: x - s.width / 2, y: y - s.height / 2, width: s.width, height: s.height, rx: 10 }));
  text(g, x, y - 26, cut(r.name, letters), "name");
  text(g, x, y - 8, cut(r.takesWrites ? `${role(r)}, takes writes` : role(r), letters), "role");
  text(g, x, y + 10, cut(r.role === "-" ? "nobody answers" : `epoch ${r.epoch}, voters ${r.voters}`, letters), "soft");
  text(g, x, y + 26, cut(r.role === "-" ? "" : `position ${r.position}`, letters), "soft");
  text(g, x, y + 41, cut(vote(r, picture.voters || []), letters), "soft");
  svg.append(g);
}

function stream(svg, r, from, to, s) {
  const [x1, y1] = border(from, to, s), [x2, y2] = border(to, from, s);
  const g = make("g", { class: "stream", "data-connected": r.connected === true, "data-to": r.name });
  const length = Math.hypot(x2 - x1, y2 - y1) || 1, ux = (x2 - x1) / length, uy = (y2 - y1) / length;
  const tip = [[x2, y2], [x2 - 9 * ux + 5 * uy, y2 - 9 * uy - 5 * ux], [x2 - 9 * ux - 5 * uy, y2 - 9 * uy + 5 * ux]];
  g.append(make("path", { class: "way", d: `M${x1.toFixed(1)} ${y1.toFixed(1)}L${x2.toFixed(1)} ${y2.toFixed(1)}` }));
  g.append(make("path", { class: "tip", d: `M${tip.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}z` }));
  text(g, x1 + (x2 - x1) * 0.5, y1 + (y2 - y1) * 0.5 - 6, cut(behind(r), narrow.matches ? 30 : 40), "lag");
  svg.append(g);
}

let last = null;

// showMap draws a picture anew, if it is another.
export function showMap(picture) {
  const regions = picture.regions, voters = picture.voters || [];
  const others = voters.filter((v) => !regions.some((r) => r.name === v.name));
  const known = JSON.stringify([narrow.matches, picture.primary, voters, regions.map((r) => ({ ...r, nodes: 0, figures: 0 }))]);
  rows(by("map-text"), [...regions.map((r) => ({ name: r.name, text: sentence(r, picture) })),
    ...others.map((v) => ({ name: `voter ${v.name}`, text: `${v.name} is no region, and has a vote: ${stands(v)}.` }))],
  (one) => one.name, () => document.createElement("li"), (li, one) => put(li, one.text));
  if (last?.known === known) return;
  last = { known, picture };
  const s = size(), { at, high } = places(regions.length, s), svg = by("map");
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${s.across} ${Math.ceil(high + others.length * 22)}`);
  const middle = new Map(regions.map((r, i) => [r.name, at[i]]));
  for (const r of regions) {
    if (r.source && middle.has(r.source)) stream(svg, r, middle.get(r.source), middle.get(r.name), s);
  }
  regions.forEach((r, i) => place(svg, r, at[i], picture, s));
  others.forEach((v, i) => text(svg, s.across / 2, high + 14 + i * 22, cut(`${v.name}: ${stands(v)}`, s.across / 7), "soft"));
}

narrow.addEventListener("change", () => { if (last) showMap(last.picture); });
