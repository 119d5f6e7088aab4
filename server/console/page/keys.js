// Keys: what there is, what a key was before, and what becomes of it, read as any client reads, by the right of whoever
// looks. Nothing of it is asked before somebody does, and of what comes no more is kept than is shown.

import { behind, brief, fromBase64, read, toBase64, valueOf } from "./bytes.js";
import { answers, plainly, put, table, unencrypted } from "./view.js";

const by = (id) => document.getElementById(id);
const tokenKey = "mimir-reader-token"; // of this tab alone

const page = 50; // keys, of which no values are asked
const older = 10; // versions of a key that are asked for at a time
const kept = 200; // events that are shown
const mostName = 2000; // bytes of the key that is looked at
const patience = 10000; // milliseconds that a read may take

let ask = null; // of the node, and fails with what it says
let own = () => ({}); // headers of who is logged in on the page

const reader = {
  token: sessionStorage.getItem(tokenKey) || "",
  list: null, // of keys: {prefix, starts, revision}
  one: null, // the key that is looked at: {key, next}
  reads: { list: null, one: null }, // what ends those under way
  watch: null, // what ends the one that is open
};

const headers = () => ({ ...(reader.token ? { Authorization: `Bearer ${reader.token}` } : own()),
  "Content-Type": "application/json" });

// said is what is told of a refusal.
function said(fault) {
  if (fault.name === "AbortError") return `No answer for ${patience / 1000} s. What this node has may be read all the same.`;
  if (fault.status === 404) return "Keys are not read at this port: open the console at the port for clients.";
  const nobody = /user name is empty/.test(fault.message); // who asks, where users are enabled
  if (fault.status === 401 || fault.status === 403 || nobody) {
    if (fault.status === 401) forgetReader();
    return `${nobody ? "users are enabled, and nobody is logged in" : fault.message}: read as a user who may, or another prefix.`;
  }
  return fault.message || "this node does not answer";
}

// reading runs one read at a time of a kind: a later one ends it, and what it brings then is of nobody.
async function reading(kind, state, work) {
  reader.reads[kind]?.abort();
  const turn = new AbortController();
  reader.reads[kind] = turn;
  const late = setTimeout(() => turn.abort(), patience);
  put(by(state), "Asked …");
  try {
    const text = await work(async (path, body) => {
      const answer = await ask(path, { method: "POST", body: JSON.stringify(body), headers: headers(), signal: turn.signal });
      const told = await answer.json();
      if (reader.reads[kind] !== turn) throw new Error("it is asked no more");
      return told;
    });
    put(by(state), text);
  } catch (fault) {
    if (reader.reads[kind] === turn) put(by(state), said(fault));
  } finally {
    clearTimeout(late);
  }
}

const here = () => (by("keys-here").checked ? { serializable: true } : {});

// list shows the page of keys that begins at the last of its starts.
function list() {
  const l = reader.list;
  return reading("list", "keys-state", async (send) => {
    const start = l.starts.at(-1);
    const got = await send("/v3/kv/range", { key: toBase64(start), range_end: toBase64(behind(l.prefix)), limit: page,
      keys_only: true, revision: l.revision, ...here() });
    l.revision ||= got.header.revision; // further pages are of the same moment
    const found = (got.kvs || []).map((kv) => ({ ...kv, bytes: fromBase64(kv.key) }));
    l.next = got.more ? Uint8Array.from([...found.at(-1).bytes, 0]) : null;
    table(by("keys"), found, (kv) => kv.key, (kv) => [brief(kv.bytes), kv.mod_revision, kv.version, lease(kv) || "–"]);
    [...by("keys").children].forEach((row, i) => opens(row.firstElementChild, found[i].bytes));
    by("keys-box").hidden = found.length === 0;
    by("keys-next").disabled = !l.next;
    by("keys-before").disabled = l.starts.length < 2;
    return `${found.length} of ${got.count || 0} keys from here on, as of revision ${l.revision}.`;
  });
}

// lease is that of a key as etcdctl writes it, "" if it has none.
const lease = (kv) => (kv.lease && kv.lease !== "0" ? BigInt(kv.lease).toString(16) : "");

// opens makes a cell a button that opens a key.
function opens(cell, key) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = cell.textContent;
  button.addEventListener("click", () => open(key));
  cell.replaceChildren(button);
}

// open shows a key as it is now.
function open(key) {
  reader.one = { key, next: 0n, versions: [] };
  by("key").hidden = false;
  put(by("key-name"), brief(key, mostName));
  for (const id of ["key-created", "key-modified", "key-version", "key-lease", "key-about", "key-value"]) put(by(id), "");
  by("key-value").hidden = true;
  by("key-versions").replaceChildren();
  by("key-older").disabled = true;
  by("key-title").focus();
  return reading("one", "key-state", async (send) => {
    const got = await send("/v3/kv/range", { key: toBase64(key), ...here() });
    const kv = (got.kvs || [])[0];
    if (!kv) return `There is no such key at revision ${got.header.revision}. What became of it is told by a watch from an earlier one.`;
    const value = valueOf(fromBase64(kv.value));
    put(by("key-created"), kv.create_revision);
    put(by("key-modified"), kv.mod_revision);
    put(by("key-version"), kv.version);
    put(by("key-lease"), lease(kv) || "none");
    put(by("key-about"), value.about);
    put(by("key-value"), value.text);
    by("key-value").hidden = value.text === "";
    took(kv);
    return `As of revision ${got.header.revision}.`;
  });
}

// took adds a version to those that are shown.
function took(kv) {
  const one = reader.one, bytes = fromBase64(kv.value);
  one.versions.push([kv.mod_revision, kv.version, String(bytes.length), brief(bytes)]);
  one.next = kv.version === "1" ? 0n : BigInt(kv.mod_revision) - 1n;
  table(by("key-versions"), one.versions, (v) => v[0], (v) => v);
  by("key-older").disabled = one.next === 0n;
}

// back shows versions from before those that are shown.
function back() {
  return reading("one", "key-state", async (send) => {
    const one = reader.one;
    for (let i = 0; i < older && one.next > 0n; i++) {
      let got;
      try {
        got = await send("/v3/kv/range", { key: toBase64(one.key), revision: String(one.next), ...here() });
      } catch (fault) {
        if (!/compacted/.test(fault.message)) throw fault;
        one.next = 0n;
        by("key-older").disabled = true;
        return "What was before was compacted, and cannot be read any more.";
      }
      if (!got.kvs?.length) throw new Error(`there is no version at revision ${one.next}`);
      took(got.kvs[0]);
    }
    return one.next > 0n ? `${one.versions.length} versions are shown; there are older ones.`
      : "All versions since it was created are shown. If it was deleted before that, a watch from an earlier revision tells it.";
  });
}

// lines yields what a stream of the JSON gateway says, an object a line. Whoever leaves it ends the stream.
async function* lines(answer) {
  const from = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ;) {
      const { value, done } = await answers(from.read());
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
        const told = JSON.parse(text.slice(0, end));
        if (told.error) throw Object.assign(new Error(plainly(told.error.message)), { status: told.error.http_code });
        yield told.result;
      }
    }
  } finally { // a browser has six connections to a node
    from.cancel().catch(() => {});
  }
}

// watch shows what becomes of a range until it is stopped. A stream that breaks is asked for anew from where it was.
async function watch(what, range, from) {
  reader.watch?.abort();
  const turn = new AbortController();
  reader.watch = turn;
  by("watch-box").hidden = by("watch-stop").disabled = false;
  const seen = { events: [], sum: 0, next: from, lost: "", broke: "", changed: null };
  const show = () => {
    seen.changed = null;
    if (reader.watch !== turn) return;
    table(by("watched"), seen.events, (e) => e.id, (e) => e.cells);
    const gone = seen.sum > kept ? `, of which the last ${kept} are shown` : "";
    put(by("watch-state"), `Watching ${what}: ${seen.sum} events${gone}. ${seen.lost}${seen.broke}`);
  };
  const later = () => { seen.changed ||= setTimeout(show, 250); };
  by("watched").replaceChildren();
  put(by("watch-state"), `Watching ${what} …`);
  for (let wait = 0; reader.watch === turn;) {
    try {
      const answer = await ask("/v3/watch", { method: "POST", headers: headers(), signal: turn.signal, body: JSON.stringify({
        create_request: { ...range, start_revision: String(seen.next) } }) });
      for await (const told of lines(answer)) {
        if (told.created) seen.broke = "";
        if (told.created && seen.next === 0n) seen.next = BigInt(told.header.revision) + 1n;
        if (Number(told.compact_revision) > 0) {
          seen.next = BigInt(told.compact_revision);
          seen.lost = `What was before revision ${seen.next} cannot be told: it was compacted, or is of another history. `;
          break;
        }
        if (told.canceled) throw Object.assign(new Error(told.cancel_reason || "the node ended the watch"), { status: 403 });
        for (const e of told.events || []) happened(seen, e);
        wait = 0;
        later();
      }
    } catch (fault) {
      if (reader.watch !== turn) return;
      if (fault.status >= 400 && fault.status < 500) {
        stop(said(fault));
        return;
      }
      seen.broke = `The stream broke (${fault.message}), and goes on from revision ${seen.next} when it can.`;
    }
    later();
    wait = Math.min(Math.max(500, wait * 2), 5000);
    await new Promise((go) => { setTimeout(go, wait); });
  }
}

// happened keeps an event, the newest first.
function happened(seen, e) {
  const revision = BigInt(e.kv.mod_revision), bytes = fromBase64(e.kv.value), gone = e.type === "DELETE";
  seen.sum++;
  seen.events.unshift({ id: seen.sum, cells: [e.kv.mod_revision, gone ? "deleted" : e.kv.version === "1" ? "created" : "changed",
    brief(fromBase64(e.kv.key)), gone ? "–" : String(bytes.length), gone ? "–" : brief(bytes)] });
  if (seen.events.length > kept) seen.events.pop();
  if (revision >= seen.next) seen.next = revision + 1n;
}

function stop(why) {
  reader.watch?.abort();
  reader.watch = null;
  by("watch-stop").disabled = true;
  put(by("watch-state"), why);
}

// from is the revision at which a watch is to begin, 0n: now.
function from() {
  const text = by("watch-from").value.trim();
  if (!/^[0-9]{0,19}$/.test(text)) throw new Error("a revision is a number");
  return BigInt(text || 0);
}

function forgetReader() {
  reader.token = "";
  sessionStorage.removeItem(tokenKey);
  who();
}

function who() {
  put(by("keys-who"), reader.token ? "Read as the user who logged in here." : "Read as whoever is logged in on this page, or as nobody.");
  by("reader-open").hidden = reader.token !== "";
  by("reader-out").hidden = reader.token === "";
}

// forgetKeys takes from the page what was read, which was for who looked until now.
export function forgetKeys() {
  for (const turn of Object.values(reader.reads)) turn?.abort();
  stop("");
  reader.reads = { list: null, one: null };
  reader.list = reader.one = null;
  for (const id of ["keys", "key-versions", "watched"]) by(id).replaceChildren();
  for (const id of ["keys-state", "key-state", "key-name", "key-value", "key-about"]) put(by(id), "");
  for (const id of ["keys-box", "key", "watch-box"]) by(id).hidden = true;
  by("keys-next").disabled = by("keys-before").disabled = true;
}

// tried runs what may fail before anything is asked, and says how.
const tried = (state, work) => (event) => {
  event?.preventDefault();
  try {
    return work();
  } catch (fault) {
    put(by(state), fault.message);
  }
};

const prefixOf = (text) => {
  const prefix = read(text);
  return { prefix, start: prefix.length ? prefix : Uint8Array.of(0) };
};

// beginKeys has the part of the page about keys work.
export function beginKeys(send, shown) {
  ask = send;
  own = shown;
  who();
  by("keys-form").addEventListener("submit", tried("keys-state", () => {
    const { prefix, start } = prefixOf(by("keys-prefix").value);
    reader.list = { prefix, starts: [start], revision: undefined, next: null };
    return list();
  }));
  by("keys-next").addEventListener("click", () => { reader.list.starts.push(reader.list.next); list(); });
  by("keys-before").addEventListener("click", () => { reader.list.starts.pop(); list(); });
  by("key-older").addEventListener("click", back);
  by("key-again").addEventListener("click", () => open(reader.one.key));
  by("key-watch").addEventListener("click", tried("watch-state", () => {
    const { key } = reader.one;
    return watch(brief(key), { key: toBase64(key) }, from());
  }));
  by("keys-watch").addEventListener("click", tried("keys-state", () => {
    const { prefix, start } = prefixOf(by("keys-prefix").value);
    return watch(prefix.length ? `what begins with ${brief(prefix)}` : "all keys",
      { key: toBase64(start), range_end: toBase64(behind(prefix)) }, from());
  }));
  by("watch-stop").addEventListener("click", () => stop("Stopped."));
  by("reader-open").addEventListener("click", () => { put(by("reader-why"), unencrypted()); by("reader").showModal(); });
  by("reader-close").addEventListener("click", () => by("reader").close());
  by("reader-out").addEventListener("click", () => { forgetReader(); forgetKeys(); });
  by("reader-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const answer = await ask("/v3/auth/authenticate", { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ name: by("reader-user").value, password: by("reader-password").value }) });
      reader.token = (await answer.json()).token;
      sessionStorage.setItem(tokenKey, reader.token);
      by("reader-password").value = "";
      by("reader").close();
      forgetKeys();
      who();
    } catch (fault) {
      put(by("reader-why"), [fault.message, unencrypted()].filter(Boolean).join(" "));
    }
  });
}
