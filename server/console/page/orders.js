// What an operator orders: each is shown before it is done, with what it costs as far as the fleet knows, and is done
// only when the name of what it is about was typed.

import { put } from "./view.js";

const by = (id) => document.getElementById(id);

let picture = null;

// known is told what the page knows.
export function known(next) {
  picture = next;
  const select = by("move-to"), chosen = select.value;
  const names = next.regions.map((r) => r.name);
  if ([...select.options].map((o) => o.value).join("\n") === names.join("\n")) return;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  select.value = names.includes(chosen) ? chosen : names.find((name) => name !== next.primary) || names[0];
}

// notForced is what a node says where only force is missing: replication.ErrNeedsForce.
const notForced = "failover may lose writes and was not forced";

const region = (name) => picture.regions.find((r) => r.name === name);

// removal has a region be none of the fleet; gone says that no node of it runs, and none comes back.
const removal = (gone) => ({
  title: (to) => `Remove region ${to}${gone ? ", which is gone for good" : ""}`,
  async preview(to, ask) { // tried, it says what it would do, and changes nothing
    const change = await ask("regions/remove", { region: to, gone, try: true });
    return [...change.steps, gone ? `No node of ${to} may run when this is confirmed, and none come back on its data.`
      : `The nodes of ${to} end when they hear of it, and do not start again on their data.`];
  },
  confirm: (to) => to,
  carryOut: (ask, to) => ask("regions/remove", { region: to, gone }),
});

// orders are what there is: how each is previewed, confirmed and carried out.
const orders = {
  switchover: {
    title: (to) => `Switch over to ${to}`,
    async preview(to) {
      const from = picture.primary || "no region that is known";
      return [`${from} is primary, of epoch ${picture.epoch}. ${to} is ${region(to).role}, and its lag: ${region(to).lag}.`,
        `Writes go on until ${to} is close behind; then they pause until it has everything. Nothing is lost.`,
        `If ${to} does not get there, it is taken back: the primary stays what it was.`];
    },
    confirm: (to) => to,
    carryOut: (ask, to) => ask("switchover", { to }),
  },
  failover: {
    title: (to) => `Fail over to ${to}, by force`,
    async preview(to, ask) {
      let cost = "";
      try { // without force it says what it would cost, and moves nothing
        await ask("failover", { to });
      } catch (refused) {
        if (refused.status !== 409 || !refused.message.includes(notForced)) throw refused;
        cost = refused.message;
      }
      if (!cost) throw new Error("the node did not say what it would cost");
      return [`What the fleet says of it: ${cost}`,
        `${to} becomes primary at its own last position, without asking the old primary. What had not arrived there is ` +
        "no part of the history any more; the old primary keeps it in a rescue file when it comes back.",
        ...(picture.votes.length ? [] : ["Nobody votes: if the old primary still runs and does not hear of it, both take " +
          "writes until they hear of each other. Keep clients away from the old one."])];
    },
    confirm: (to) => to,
    carryOut(ask, to) {
      const most = by("order-most").value;
      return ask("failover", most === "" ? { to, force: true } : { to, acceptLoss: Number(most) });
    },
    most: true,
  },
  abort: {
    title: () => "Take the switchover under way back",
    preview: async () => ["If the other region has not begun, the primary is what it was, and takes writes again.",
      "If it has begun, or does not answer, nothing changes but that it is asked again."],
    confirm: () => picture.fleet,
    carryOut: (ask) => ask("switchover/abort", {}),
  },
  pause: {
    title: () => "Pause automatic failover",
    preview: async () => ["The primary stays where it is until somebody resumes, even if its region is lost. By order it moves."],
    confirm: () => picture.fleet,
    carryOut: (ask) => ask("votes/pause", { reason: by("order-reason").value }),
    reason: true,
  },
  resume: {
    title: () => "Resume automatic failover",
    preview: async () => ["The primary moves by itself again, if its region is lost and a majority votes for another."],
    confirm: () => picture.fleet,
    carryOut: (ask) => ask("votes/pause", { reason: "" }),
  },
  remove: removal(false),
  gone: removal(true),
};

// outcome says how an order ended, in the words of the command line.
function outcome(report) {
  if ("steps" in report) {
    return [report.written ? `The fleet has the regions ${report.regions.join(", ")}: roster ${report.number} of epoch ` +
      `${report.epoch}.` : "Nothing had to be changed."];
  }
  if ("number" in report) return [`Charter ${report.number} of epoch ${report.epoch} says so now.`];
  if (!("to" in report)) return [`The primary is what it was, and takes writes at position ${report.position}.`];
  const lines = [`${report.to} is primary${report.from ? `, after ${report.from}` : ""}: epoch ${report.epoch} begins ` +
    `after position ${report.position}.`];
  if (report.lossy) lines.push(report.loss || "How much is missing is unknown.");
  else lines.push(report.pauseNanos ? `Nothing was lost; writes paused for ${(report.pauseNanos / 1e9).toFixed(3)} s.`
    : "Nothing was lost.");
  return lines.concat(report.warnings || []);
}

function list(lines) {
  by("order-lines").replaceChildren(...lines.map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
}

// begin has the buttons of orders work. ask sends one to the node, and fails with what the node says.
export function begin(ask) {
  const dialog = by("order");
  // open is what the dialog that is open is about, from its opening to its end. What an order said of itself later is of
  // none that is open by then: whoever waited looks whether open is still his.
  let open = null;
  const ready = () => {
    by("order-do").disabled = !open || !open.told || open.begun || open.name === "" ||
      by("order-name").value !== open.name || (open.order.reason === true && by("order-reason").value.trim() === "");
  };
  for (const button of document.querySelectorAll("[data-order]")) {
    button.addEventListener("click", async () => {
      if (!picture) return;
      const order = orders[button.dataset.order], to = by("move-to").value;
      // told: what it does is known, before which nothing is confirmed; begun: it was confirmed.
      const opened = { order, to, name: order.confirm(to), title: order.title(to), told: false, begun: false };
      open = opened;
      put(by("order-title"), opened.title);
      put(by("order-which"), opened.name);
      put(by("order-state"), "");
      for (const id of ["order-name", "order-most", "order-reason"]) {
        by(id).value = "";
        by(id).readOnly = false;
      }
      by("order-most-row").hidden = !(order.most && picture.votes.length > 0);
      by("order-reason-row").hidden = !order.reason;
      list(["Asked what it would do …"]);
      ready();
      dialog.showModal();
      let lines, told = false;
      try {
        if (opened.name === "") throw new Error("the name of what it is about is not known");
        lines = await order.preview(to, ask);
        told = true;
      } catch (fault) {
        lines = [`What it would do cannot be told, so that it cannot be ordered here: ${fault.message}`];
      }
      if (open !== opened) return;
      list(lines);
      opened.told = told;
      ready();
    });
  }
  for (const id of ["order-name", "order-reason"]) by(id).addEventListener("input", ready);
  by("order-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (!dialog.open) open = null; // else it was opened again meanwhile
  });
  by("order-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    ready();
    if (by("order-do").disabled) return;
    const opened = open;
    opened.begun = true;
    for (const id of ["order-name", "order-most", "order-reason"]) by(id).readOnly = true;
    by("order-state").focus(); // what is disabled while it has the focus takes the keys with it: Escape would not be heard
    ready();
    const began = Date.now();
    const under = () => {
      if (open === opened) put(by("order-state"), `Under way for ${Math.floor((Date.now() - began) / 1000)} s …`);
    };
    under();
    const each = setInterval(under, 1000);
    let lines = null, ended = "Done.";
    try {
      lines = outcome(await opened.order.carryOut(ask, opened.to));
    } catch (refused) {
      ended = `Not done, or not known to be: ${refused.message}`;
    }
    clearInterval(each);
    if (open !== opened) { // nobody waits for it here any more: it is told below the buttons
      put(by("answer"), [`${opened.title}: ${ended}`, ...(lines || [])].join(" "));
      return;
    }
    if (lines) list(lines);
    put(by("order-state"), ended);
  });
}
