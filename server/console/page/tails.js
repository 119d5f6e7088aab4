// What a failover cut off: what a tail holds, and the steps by which it is read and done again. What of it still applies
// is decided against today's history, by the command line and in the name of whoever runs it: nothing is written here.

import { brief, fromBase64 } from "./bytes.js";
import { answers, put, table } from "./view.js";

const by = (id) => document.getElementById(id);
const most = 100; // writes that are shown
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

// steps are the ways on, each with why. The last one is for when nothing of it is wanted any more.
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

// writes reads as much of a tail as is shown.
async function writes(answer) {
  const from = answer.body.pipeThrough(new TextDecoderStream()).getReader(), list = [];
  try {
    for (let text = ""; list.length < most;) {
      const { value, done } = await answers(from.read());
      if (done) break;
      text += value;
      for (let end; list.length < most && (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
        list.push(JSON.parse(text.slice(0, end)));
      }
    }
  } finally {
    from.cancel().catch(() => {});
  }
  return list;
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
  try {
    const answer = await ask(`/mimir/v1/tails/${encodeURIComponent(tail.name)}`, { headers: headers(), signal: own.signal });
    const list = await writes(answer);
    if (turn !== own) return;
    table(by("tail-writes"), list, (w) => w.position, row);
    by("tail-box").hidden = list.length === 0;
    put(by("tail-state"), list.length < tail.commands ? `The first ${list.length} of ${tail.commands} writes.`
      : "All of its writes.");
  } catch (fault) {
    if (turn === own) put(by("tail-state"), fault.message);
  }
}

// fillTails shows which tails there are, each with what opens it.
export function fillTails(list, ask, headers) {
  table(by("tails"), list, (t) => t.name, (t) => [t.name, String(t.commands), String(t.fork), ""]);
  [...by("tails").children].forEach((tr, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show";
    button.setAttribute("aria-label", `Show tail ${list[i].name}`);
    button.addEventListener("click", () => look(list[i], ask, headers));
    tr.lastElementChild.replaceChildren(button);
  });
}

// forgetTails leaves nothing of what only operators see.
export function forgetTails() {
  turn?.abort();
  turn = null;
  for (const id of ["tail-writes", "tail-steps"]) by(id).replaceChildren();
  for (const id of ["tail-name", "tail-about", "tail-state"]) put(by(id), "");
  by("tail").hidden = true;
}
