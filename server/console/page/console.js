// What the page asks of its node, and what it says when the node does not answer.

import { beginKeys, forgetKeys } from "./keys.js";
import { showMap } from "./map.js";
import { begin, known } from "./orders.js";
import { fillTails, forgetTails, knownTails } from "./tails.js";
import { answers, gap, plainly, put, remember, show, stale, table, unencrypted } from "./view.js";

const by = (id) => document.getElementById(id);
const tokenKey = "mimir-operator-token"; // of this tab alone

const state = {
  token: sessionStorage.getItem(tokenKey) || "",
  everybody: false, // is an operator
  ahead: 0, // how far the clock of this browser is before that of the node, in milliseconds
  pictureAt: 0, // when the last picture was asked for, by the clock of the node
  wrong: null, // of the last picture
  fault: "", // why there is no newer one
  every: 2000,
  asked: false, // to log in, before anything is shown; who has cancelled that is not asked again
  stream: null, // what ends the one that is open
};

const headers = () => (state.token ? { Authorization: `Bearer ${state.token}` } : {});

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const answer = await answers(fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options }));
  if (answer.ok) return answer;
  let text = `${answer.status} ${answer.statusText}`;
  try {
    const told = await answer.json();
    text = plainly(told.error || told.message || text);
  } catch { /* it has no more to say */ }
  throw new Refused(answer.status, text);
}

// events yields {kind, value} of a stream until it ends.
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await answers(reader.read());
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const one = { kind: "", value: "" };
      for (const line of text.slice(0, end).split("\n")) {
        if (line.startsWith("event: ")) one.kind = line.slice(7);
        if (line.startsWith("data: ")) one.value += line.slice(6);
      }
      yield { kind: one.kind, value: JSON.parse(one.value) };
    }
  }
}

function take(event) {
  switch (event.kind) {
    case "greeting":
      state.everybody = event.value.everybody;
      state.every = event.value.everyNanos / 1e6;
      state.ahead = Date.now() - Date.parse(event.value.now);
      put(by("served"), `Served by ${event.value.node} of region ${event.value.region}, version ${event.value.version}.`);
      who();
      break;
    case "picture":
      state.pictureAt = Date.parse(event.value.at);
      state.wrong = event.value.wrong || "";
      state.fault = "";
      remember(event.value);
      show(event.value);
      showMap(event.value);
      known(event.value);
      knownTails(event.value);
      break;
    case "silence":
      state.fault = event.value.error;
      break;
  }
  tick();
}

// watch reads one stream after the other. One that ends by itself is asked for anew at once.
async function watch() {
  for (let wait = 0; ;) {
    const stop = new AbortController();
    state.stream = stop;
    try {
      const path = state.token ? "operator/events" : "events";
      const answer = await ask(path, { headers: headers(), signal: stop.signal });
      for await (const event of events(answer)) {
        wait = 0;
        take(event);
      }
      wait ||= 200;
    } catch (fault) {
      if (stop.signal.aborted) {
        wait = 0;
        continue; // by who logged in or out
      }
      wait = await told(fault, wait);
    }
    tick();
    await new Promise((go) => {
      const over = setTimeout(go, wait);
      stop.signal.addEventListener("abort", () => { clearTimeout(over); go(); });
    });
  }
}

// told says why there is no stream, and returns how long to wait.
async function told(fault, before) {
  if (!(fault instanceof Refused)) {
    state.fault = "this node does not answer";
    return Math.min(Math.max(500, before * 2), 5000);
  }
  state.fault = fault.message;
  if (fault.status === 403 && state.token) { // it holds no more, or never did: go on with what anybody may see
    forget();
    openLogin(fault.message);
    return 100;
  }
  if (fault.status === 403 || fault.status === 404) {
    state.fault = "at this port the fleet is shown to operators alone: log in";
    if (!state.asked) openLogin("At this port the fleet is shown to operators alone.");
    state.asked = true;
  }
  return 10000;
}

// tick says what is so now; it is called often, so that nobody takes an old picture for a new one.
function tick() {
  const element = by("state"), now = Date.now() - state.ahead, age = Math.max(0, now - state.pictureAt);
  put(by("age"), state.pictureAt ? `${Math.floor(age / 1000)} s` : "–");
  const late = state.pictureAt && age > 5 * state.every + 10000;
  let is = "waiting", text = "Waiting for the first picture";
  if (state.fault || late) {
    is = "silent";
    text = `No answer: ${state.fault || "no picture comes"}`;
    if (state.pictureAt) text += ". What is below was so some time ago";
    gap(now);
  } else if (state.wrong !== null) {
    is = state.wrong ? "wrong" : "well";
    text = state.wrong ? "The fleet is not well" : "The fleet is well";
  }
  element.dataset.is = is;
  document.body.dataset.stale = is === "silent";
  put(element, text);
  stale(is === "silent" ? state.fault || "no picture comes" : "", Math.floor(age / 1000));
}

function who() {
  put(by("who"), state.everybody ? "No rule says who is an operator: everybody is." : state.token
    ? "You are logged in." : "What is below wants the operator's right.");
  by("login-open").hidden = state.everybody || state.token !== "";
  by("logout").hidden = state.token === "";
}

function forget() {
  state.token = "";
  sessionStorage.removeItem(tokenKey);
  forgetKeys();
  who();
}

function openLogin(why) {
  put(by("login-why"), [why, unencrypted()].filter(Boolean).join(" "));
  if (!by("login").open) by("login").showModal();
}

async function logIn() {
  let token = by("token").value.trim();
  if (!token) {
    const body = JSON.stringify({ name: by("user").value, password: by("password").value });
    const answer = await ask("/v3/auth/authenticate", { method: "POST", body,
      headers: { "Content-Type": "application/json" } });
    token = (await answer.json()).token;
  }
  state.token = token;
  state.asked = true;
  sessionStorage.setItem(tokenKey, token);
  for (const id of ["token", "password"]) by(id).value = "";
  by("login").close();
  who();
  state.stream.abort();
}

by("login-open").addEventListener("click", () => openLogin(""));
by("login-close").addEventListener("click", () => by("login").close());
by("logout").addEventListener("click", () => {
  forget();
  for (const id of ["tails", "slow", "settings"]) {
    by(id).replaceChildren();
    by(`${id}-box`).hidden = true;
  }
  forgetTails();
  put(by("answer"), "");
  state.stream.abort();
});
by("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn().catch((fault) => openLogin(fault.message));
});

// shows has a button fill a table with what only operators see.
function shows(name, path, fill, rows = (told) => told) {
  by(`${name}-show`).addEventListener("click", async () => {
    put(by("answer"), "Asked …");
    try {
      const told = await (await ask(path, { headers: headers() })).json() || [];
      fill(told);
      by(`${name}-box`).hidden = rows(told).length === 0;
      put(by("answer"), rows(told).length ? "" : "There are none.");
    } catch (fault) {
      put(by("answer"), fault instanceof Refused && fault.status === 404
        ? "This is not told at this port: ask at the port for clients." : fault.message);
      if (fault instanceof Refused && fault.status === 403) openLogin(fault.message);
    }
  });
}

shows("settings", "operator/settings", (list) => table(by("settings"), list, (s) => s.key,
  (s) => [s.key, s.value || "–", s.from]));
shows("slow", "operator/slow", (list) => table(by("slow"), list, (s) => list.indexOf(s), (s) => [s.at.slice(0, 23).replace("T", " "),
  s.method.split("/").pop(), s.took, s.about, String(s.more)]));
shows("tails", "/mimir/v1/replay/tails", (told) => fillTails(told, ask, headers), (told) => told.tails);

beginKeys(ask, headers);

begin(async (path, body) => {
  try {
    const answer = await ask(`/mimir/v1/${path}`, { method: "POST", body: JSON.stringify(body),
      headers: { ...headers(), "Content-Type": "application/json" } });
    return await answer.json();
  } catch (fault) {
    if (fault instanceof Refused && fault.status === 404 && !fault.message.startsWith("replication")) {
      fault.message = "orders are not taken at this port: open the console at the port for clients";
    }
    throw fault;
  }
});

setInterval(tick, 1000);
watch();
