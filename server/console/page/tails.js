// What a failover cut off: which tails there are on all nodes, what one holds, and the ways on: the guided replay, and the
// same by the command line.

import { brief, fromBase64 } from "./bytes.js";
import { forgetReplay, guide } from "./replay.js";
import { put, table } from "./view.js";

const by = (id) => document.getElementById(id);
const mostKeys = 5; // of one write

let picture = null;
let turn = null; // ends the reading under way

// knownTails is told what the page knows, for who is to be asked.
export function knownTails(next) { picture = next; }

// at is the flag that names nodes which serve clients: of regions that follow or lead, three at most.
function at() {
  const nodes = (picture?.regions || []).filter((r) => r.role !== "-").flatMap((r) => (r.nodes || []).slice(0, 1))
    .map((n) => n.at.split(" ")[0]).filter((url) => url && url !== "-").slice(0, 3);
  return nodes.length ? ` --endpoints ${nodes.join(",")}` : "";
}

const key = (q) => brief(fromBase64(q.key)) + (q.range_end ? ` to ${brief(fromBase64(q.range_end))}` : "");

// keysOf are those that a request writes, or may write.
function keysOf(q) {
  if (q.key !== undefined) return [key(q)];
  const all = [...(q.success || []), ...(q.failure || [])].flatMap((op) => keysOf(op.request_put ||
    op.request_delete_range || op.request_txn || {}));
  return [...new Set(all)];
}

// about is what else is to be known of a write.
function about(w) {
  if (w.refused) return `refused: ${w.refused}`;
  if (w.doubt) return w.doubt;
  if (w.op === "txn") return "keys of both its branches; its comparisons chose one";
  if (w.op.startsWith("lease-expiry")) return "by the primary itself: it is not replayed";
  return "";
}

function row(w) {
  const keys = keysOf(w.request), more = keys.length > mostKeys ? `, and ${keys.length - mostKeys} more` : "";
  const value = w.op === "put" ? brief(fromBase64(w.request.value)) : "";
  return [String(w.position), w.op, keys.slice(0, mostKeys).join(", ") + more || "–", value, w.user || "–", about(w)];
}

// steps are the ways on in a terminal, each with why. The last one is for when nothing of it is wanted any more.
const steps = (name) => [
  ["See what of it still applies, and what conflicts with what was written since, with both values. Nothing is changed:",
    `mimir tail diff ${name}${at()}`],
  ["Do what still applies. What conflicts is not done, and is listed; run again, it goes on where it was:",
    `mimir tail replay ${name}${at()}`],
  ["Keep the whole of it, one write a line:", `mimir tail export ${name} --to ${name}.ndjson${at()}`],
  ["When all of it is done or given up, discard it. It asks before:", `mimir tail discard ${name}${at()}`],
];

function showSteps(name) {
  by("tail-steps").replaceChildren(...steps(name).map(([why, command]) => {
    const li = document.createElement("li"), p = document.createElement("p"), pre = document.createElement("pre");
    const code = document.createElement("code");
    p.textContent = why;
    code.textContent = command;
    pre.tabIndex = 0;
    pre.append(code);
    li.append(p, pre);
    return li;
  }));
}

// part says what of a tail is not there write by write.
const part = (tail) => (tail.after > tail.fork ? ` Those up to ${tail.after} are not told apart any more: what they ` +
  "changed is in the whole state that the node saved, from which the commands below go." : "");

// look shows a tail.
async function look(tail, ask, headers) {
  turn?.abort();
  const own = turn = new AbortController();
  by("tail").hidden = false;
  put(by("tail-name"), tail.name);
  put(by("tail-about"), tail.damaged ? `It cannot be read: ${tail.damaged}` : `${tail.commands} writes behind position ` +
    `${tail.fork}, up to ${tail.last}: a failover cut them off, and the history of today does not have them.${part(tail)}`);
  by("tail-writes").replaceChildren();
  by("tail-box").hidden = true;
  showSteps(tail.name);
  put(by("tail-state"), "Asked …");
  by("tail-title").focus();
  guide(tail, ask, headers);
  try {
    const answer = await ask(`/mimir/v1/replay/tails/${encodeURIComponent(tail.name)}`,
      { headers: headers(), signal: own.signal });
    const list = await answer.json();
    if (turn !== own) return;
    table(by("tail-writes"), list, (w) => w.position, row);
    by("tail-box").hidden = list.length === 0;
    put(by("tail-state"), list.length < tail.commands ? `The first ${list.length} of ${tail.commands} writes.`
      : "All of its writes.");
  } catch (fault) {
    if (turn === own) put(by("tail-state"), fault.message);
  }
}

// fillTails shows which tails there are, each with what opens it, and who may have more.
export function fillTails({ tails, silent }, ask, headers) {
  table(by("tails"), tails, (t) => t.name, (t) => [t.name, t.damaged ? "–" : String(t.commands),
    t.damaged ? "–" : String(t.fork), t.nodes.join(", "), ""]);
  [...by("tails").children].forEach((tr, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show";
    button.setAttribute("aria-label", `Show tail ${tails[i].name}`);
    button.addEventListener("click", () => look(tails[i], ask, headers));
    tr.lastElementChild.replaceChildren(button);
  });
  put(by("tails-silent"), silent.length ? `Not asked, because they do not answer: ${silent.join(", ")}. They may have more.` : "");
}

// forgetTails leaves nothing of what only operators see.
export function forgetTails() {
  turn?.abort();
  turn = null;
  forgetReplay();
  for (const id of ["tail-writes", "tail-steps"]) by(id).replaceChildren();
  for (const id of ["tail-name", "tail-about", "tail-state", "tails-silent"]) put(by(id), "");
  by("tail").hidden = true;
}
