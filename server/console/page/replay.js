// The guided replay of a tail: what would be done, by a dry run; the region to be named; then the run itself, followed from
// its beginning to how it ended. The node decides and does it, in the name of whoever is logged in; here it is only shown.

import { brief, fromBase64 } from "./bytes.js";
import { answers, plural, put, rows, table } from "./view.js";

const by = (id) => document.getElementById(id);
const groups = ["conflicts", "applied", "notReplayed"];

let turn = null; // the tail that is looked at: { tail, ask, headers, stop, seen }

// shown is as much of a key or a value as the node has kept of it.
function shown(t) {
  const bytes = fromBase64(t.bytes);
  return brief(bytes, bytes.length) + (t.size > bytes.length ? `… (${t.size} bytes)` : "");
}

const lease = (id) => (id ? `, on lease ${id}` : "");

// value is a key as it was, or is.
function value(v) {
  if (!v) return "not known";
  return v.exists ? `${v.value.size ? shown(v.value) : "(empty)"}${lease(v.lease)}` : "not there";
}

const keys = (w) => (w.keys || []).map(shown).join(", ") + (w.more ? `, and ${w.more} more` : "") || "–";

// conflictRows has a row for each key that is in the way, or one that says why without.
function conflictRows(list) {
  const what = (w) => w.op + (w.lease ? `, lease ${w.lease}` : "");
  return list.flatMap((w) => (w.differences || []).map((d) => [w.place, what(w), shown(d.key), value(d.fork), value(d.lost),
    value(d.today), [w.reason, d.reason].filter(Boolean).join(": ")]).concat(
    w.differences?.length ? [] : [[w.place, what(w), keys(w), "–", "–", "–", w.reason || "–"]]));
}

const plainRows = (list) => list.map((w) => [w.place, w.op, keys(w), w.lease || "–", w.reason || "–"]);

// captions of the lists, of a dry run and of one that was done.
const captions = {
  conflicts: (dry) => (dry ? "Would not be done, because it conflicts" : "Not done, because it conflicts"),
  applied: (dry) => (dry ? "Would be applied" : "Applied"),
  notReplayed: () => "Never replayed",
};

function showGroup(name, state) {
  const list = state.writes?.[name] || [], sum = state.sums[name];
  put(by(`replay-${name}-sum`), String(sum));
  by(`replay-${name}-box`).hidden = list.length === 0;
  put(by(`replay-${name}-caption`), captions[name](state.dryRun) + (sum > list.length
    ? `: the first ${list.length} of ${sum}; all of them tells mimir tail ${state.dryRun ? "diff" : "replay"} -o json` : ""));
  const cells = name === "conflicts" ? conflictRows(list) : plainRows(list);
  table(by(`replay-${name}`), cells.map((row, i) => ({ i, row })), (one) => one.i, (one) => one.row);
}

// sentence is how it is, without figures that run: it is read aloud whenever it changes.
function sentence(s) {
  if (s.running) return `${s.dryRun ? "Looking what would be done" : `Replaying into ${s.region || "the primary"}`}: the node ${s.doing}.`;
  if (s.refused) return `Refused, and nothing was done: ${s.error}.`;
  if (s.error && s.dryRun) return `What would be done is not known: ${s.error}.`;
  if (s.error) {
    return `Not done to its end: ${s.error}. ${s.last ? `It stopped behind ${/^\d/.test(s.last) ? "position " : ""}${s.last}. ` : ""}` +
      "What was applied stays; look again, and it goes on where it was.";
  }
  const left = s.sums.conflicts + s.sums.notReplayed;
  if (s.dryRun) return s.sums.applied ? `${plural(s.sums.applied, "write")} would be applied to ${s.region}. Nothing was changed yet.`
    : "Nothing of it would be applied.";
  return `Done: ${plural(s.sums.applied, "write")} applied to ${s.region}, primary of epoch ${s.epoch}. ` +
    (left ? `${plural(left, "write")} not done: decide by hand.` : "Nothing of it is left.");
}

// unknown is what is said where nobody tells how a replay went.
const unknown = (why) => `Whether it came to its end, and how far it came, is not known: ${why}. What was applied stays; look again, ` +
  "and it goes on where it was.";

// count is how far it is.
function count(s) {
  const parts = [s.running ? `Under way for ${Math.floor(s.seconds)} s` : `It took ${s.seconds.toFixed(1)} s`];
  if (s.commands && s.running) {
    parts.push(s.decided ? `${s.decided} of ${s.commands} writes decided, ${s.sums.applied} ${s.dryRun ? "would be applied" : "applied"}, ` +
      `${plural(s.sums.conflicts, "conflict")}` : `${s.looked} of ${s.commands} writes read`);
  }
  if (s.running && s.stillSeconds > 3) parts.push(`nothing has moved for ${Math.floor(s.stillSeconds)} s: it waits for an answer`);
  if (s.by) parts.push(`ordered by ${s.by}`);
  return `${parts.join("; ")}.`;
}

// showState shows a replay as it is, or ended.
function showState(s) {
  const of = turn, own = s.tail === of.tail.name;
  by("replay-state").dataset.is = s.error || !own && !s.running ? "bad" : "";
  put(by("replay-state"), own ? sentence(s) : s.running ? `This node replays another tail, ${s.tail}: wait until that is over, or stop it.`
    : unknown(s.tail ? `of the replay that was asked for here this node tells nothing any more, the last one was of ${s.tail}`
      : "this node was started anew since, and knows of none"));
  put(by("replay-count"), own || s.running ? count(s) : "");
  const bar = by("replay-bar");
  bar.hidden = !s.running;
  if (s.commands) bar.value = (s.looked + s.decided) / (2 * s.commands);
  else bar.removeAttribute("value");
  by("replay-stop").hidden = !s.running;
  by("replay-look").disabled = s.running;
  put(by("replay-look"), "Look again what would be done");
  const told = own && !s.running && !s.refused;
  by("replay-told").hidden = !told;
  if (told) {
    put(by("replay-applied-name"), s.dryRun ? "Would be applied" : "Applied");
    for (const name of groups) showGroup(name, s);
    for (const name of ["there", "nothing", "leased"]) put(by(`replay-${name}-sum`), String(s.sums[name]));
    const notes = [...(s.notes || []), ...(s.holes ? [s.holes] : [])];
    by("replay-notes").hidden = notes.length === 0;
    rows(by("replay-notes"), notes, (n) => n, () => document.createElement("li"), (li, n) => put(li, n));
  }
  of.seen = own && s.done && s.dryRun && s.sums.applied ? s : null;
  by("replay-form").hidden = !of.seen;
  if (!of.seen) return;
  put(by("replay-what"), `${plural(s.sums.applied, "write")} would be done to ${s.region}, primary of epoch ${s.epoch}, one after the ` +
    `other, in the name of whoever is logged in here. ${s.sums.conflicts ? "What conflicts would not. " : ""}` +
    "Each is checked again when it is done. If the primary moves meanwhile, it stops. Done twice, it changes nothing more.");
  put(by("replay-which"), s.region);
  put(by("replay-do"), `Replay into ${s.region}`);
}

// each yields the objects of an answer, one a line.
async function* each(answer) {
  const from = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let all = ""; ;) {
      const { value, done } = await answers(from.read());
      if (done) return;
      all += value;
      for (let end; (end = all.indexOf("\n")) >= 0; all = all.slice(end + 1)) yield JSON.parse(all.slice(0, end));
    }
  } finally { // a browser has six connections to a node
    from.cancel().catch(() => {});
  }
}

// follow shows a replay until it is over, however often the connection breaks: the node goes on by itself.
async function follow(of, first) {
  let last = null, again = false; // what was asked for may be under way, or over
  for (let ask = first, wait = 500; turn === of; ask = () => of.ask("/mimir/v1/replay?follow=true", { headers: of.headers(), signal: of.stop.signal })) {
    try {
      for await (const s of each(await ask())) {
        if (turn !== of) return;
        last = s;
        wait = 500;
        showState(s);
      }
      if (last && !last.running) return;
    } catch (fault) {
      if (turn !== of) return;
      if (fault.status && (!again || fault.status < 500)) { // a refusal: to do it, or to tell of it
        refused(again ? unknown(fault.message) : `Refused, and nothing was done: ${fault.message}.`);
        return;
      }
      by("replay-state").dataset.is = "bad";
      put(by("replay-state"), `The connection broke: ${fault.message}. ${last ? "Whether it goes on is not known; asked again …"
        : "Whether it began is not known; asked again …"}`);
    }
    again = true;
    await new Promise((go) => { setTimeout(go, wait); });
    wait = Math.min(wait * 2, 5000);
  }
}

// refused says why nothing more is told of what was asked for.
function refused(why) {
  by("replay-state").dataset.is = "bad";
  put(by("replay-state"), why);
  put(by("replay-count"), "");
  by("replay-bar").hidden = by("replay-stop").hidden = true;
  by("replay-look").disabled = false;
}

// begin orders a replay, or a dry run.
function begin(order) {
  const of = turn;
  of.seen = null;
  by("replay-form").hidden = true;
  by("replay-name").value = "";
  by("replay-told").hidden = true;
  by("replay-look").disabled = true;
  by("replay-bar").hidden = false;
  by("replay-bar").removeAttribute("value");
  by("replay-state").dataset.is = "";
  put(by("replay-state"), "Asked …");
  put(by("replay-count"), "");
  by("replay-state").focus(); // what is disabled takes the keys with it
  return follow(of, () => of.ask("/mimir/v1/replay", { method: "POST", body: JSON.stringify(order), signal: of.stop.signal,
    headers: { ...of.headers(), "Content-Type": "application/json" } }));
}

const ready = () => { by("replay-do").disabled = !turn?.seen || by("replay-name").value !== turn.seen.region; };

by("replay-look").addEventListener("click", () => begin({ tail: turn.tail.name, dryRun: true }));
by("replay-name").addEventListener("input", ready);
by("replay-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ready();
  if (by("replay-do").disabled) return;
  const { region, epoch } = turn.seen;
  begin({ tail: turn.tail.name, region, epoch });
  ready();
});
by("replay-stop").addEventListener("click", async () => {
  const of = turn;
  try {
    await of.ask("/mimir/v1/replay/stop", { method: "POST", body: "{}", headers: { ...of.headers(), "Content-Type": "application/json" } });
  } catch (fault) {
    if (turn === of) put(by("replay-count"), `It is not known to be stopped: ${fault.message}.`);
  }
});

// guide has the part of the page about replaying be about a tail, and shows what the node does of it, or did last.
export async function guide(tail, ask, headers) {
  forgetReplay();
  const of = turn = { tail, ask, headers, stop: new AbortController(), seen: null };
  by("replay-look").disabled = Boolean(tail.damaged);
  try {
    const s = await (await ask("/mimir/v1/replay", { headers: headers(), signal: of.stop.signal })).json();
    if (turn !== of || by("replay-state").textContent) return; // something was ordered meanwhile
    if (s.running) follow(of, () => ask("/mimir/v1/replay?follow=true", { headers: headers(), signal: of.stop.signal }));
    else if (s.tail === tail.name && !s.dryRun) showState(s);
  } catch { /* what is asked for says it */ }
}

// forgetReplay leaves nothing of it on the page. What the node does goes on.
export function forgetReplay() {
  turn?.stop.abort();
  turn = null;
  for (const name of groups) by(`replay-${name}`).replaceChildren();
  for (const id of ["replay-state", "replay-count"]) put(by(id), "");
  by("replay-notes").replaceChildren();
  by("replay-name").value = "";
  put(by("replay-look"), "See what would be done");
  for (const id of ["replay-told", "replay-form", "replay-bar", "replay-stop"]) by(id).hidden = true;
  ready();
}
