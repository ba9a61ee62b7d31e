// The state of the stack: a verdict in one word and one sentence, the details, and what changed.

import { ask, NoAnswer } from "./api.js";
import { showBoot } from "./boot.js";
import { $, announce, clock, duration, mark, timeElement } from "./page.js";

const POLL = 2_000; // ms between two looks
const SILENT = 30; // seconds without a heartbeat after which somebody is missed, as in the probes
const CHANGES = 5; // changes of state that are kept

const names = {
  healthy: "Healthy",
  starting: "Starting",
  degraded: "Degraded",
  unhealthy: "Unhealthy",
  unreachable: "Unreachable",
};
const starts = {
  waiting: "The backend is waiting for the database",
  migrating: "The backend is migrating the schema",
};
const services = { worker: "the worker", beat: "beat" };
const schemas = {
  behind: "It serves, but the schema is behind this version.",
  ahead: "It serves, but the schema is newer than this version.",
  failed: "It serves, but the schema is not current: its migration failed.",
  unknown: "It serves, but whether the schema is current is not known.",
};

/**
 * What a body of /overview means, in one word and one sentence; the same states as `inv health`.
 * `spoken` is the sentence for screen readers, where it would change too often to be read out.
 */
function judge({ phase = "serving", db, redis, migrations, phases, heartbeats, attempt, attempts }) {
  if (phase !== "serving") {
    const last = phases?.at(-1)?.name === "application";
    const sentence = last ? "The application is starting" : starts[phase] ?? "The backend is starting";
    const counted = attempt ? `${sentence}, attempt ${attempt}${attempts ? ` of ${attempts}` : ""}.` : `${sentence}.`;
    return { state: "starting", sentence: counted, spoken: phase === "waiting" ? `${sentence}.` : counted };
  }
  if (!db && !redis) return { state: "unhealthy", sentence: "Neither the database nor Redis answers." };
  if (!db) return { state: "unhealthy", sentence: "The database does not answer." };
  if (!redis) return { state: "unhealthy", sentence: "Redis does not answer." };
  if (migrations !== "current") {
    return { state: "degraded", sentence: schemas[migrations] ?? schemas.unknown };
  }
  const missed = Object.entries(heartbeats ?? {}).filter(([, age]) => age === null || age > SILENT);
  const missing = missed.map(([name]) => ` But ${services[name] ?? name} gives no sign of life.`).join("");
  return { state: "healthy", sentence: `Everything answers, and the schema is current.${missing}` };
}

let shown = { state: "checking", sentence: "", spoken: "" };
let listener = () => {};
let known; // the last answer: { state, at }
let silentSince; // when the first of the failed looks began

export const state = () => shown.state;

/** Have `listen` called with the state before and the state after, whenever it changes. */
export function onChange(listen) {
  listener = listen;
}

async function look() {
  const started = new Date();
  try {
    const { body } = await ask("overview");
    if (typeof body?.db !== "boolean" || typeof body.redis !== "boolean") {
      throw new NoAnswer("what answers is not the backend");
    }
    const verdict = judge(body);
    known = { state: verdict.state, at: new Date() };
    silentSince = undefined;
    showDetails(body);
    showState(verdict);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    silentSince ??= started;
    const last = known ? `Last known: ${names[known.state].toLowerCase()}.` : "It has not answered since this page was opened.";
    showState({ state: "unreachable", sentence: `Since ${clock(silentSince)}: ${error.message}. ${last}` });
  }
}

function showState({ state, sentence, spoken = sentence }) {
  $("stale").hidden = state !== "unreachable" || !known;
  if (known) {
    const time = $("stale").querySelector("time");
    time.dateTime = known.at.toISOString();
    time.textContent = clock(known.at);
  }
  $("checked").replaceChildren("Checked ", timeElement(new Date()));
  const before = shown;
  shown = { state, sentence, spoken };
  if (sentence !== before.sentence) $("sentence").textContent = sentence;
  if (state === before.state && spoken === before.spoken) return;

  $("stack").dataset.state = state;
  $("icon").setAttribute("href", `#icon-${state}`);
  $("state").textContent = names[state];
  document.title = `${names[state]} – deal-scout`;
  announce(`${names[state]}. ${spoken}`);
  if (state !== before.state) {
    remember(before.state, state);
    listener(before.state, state);
  }
}

function showDetails({ db, redis, queue_depth: queue, migrations, version, phases, heartbeats }) {
  const answers = (up) => (up ? ["answers", "good"] : ["no answer", "bad"]);
  mark($("db"), ...answers(db));
  mark($("redis"), ...answers(redis));
  mark($("queue"), typeof queue === "number" ? `${queue} waiting` : "not known");
  mark($("schema"), migrations ?? "unknown", { current: "good", failed: "bad" }[migrations] ?? "wait");
  mark($("worker"), ...heartbeat(heartbeats?.worker));
  mark($("beat"), ...heartbeat(heartbeats?.beat));
  mark($("version"), version ?? "not known");
  showBoot(phases ?? [], migrations);
}

/** What a heartbeat's age in seconds means; null is one that was never seen. */
function heartbeat(age) {
  if (age === undefined) return ["not known"];
  if (age === null) return ["not seen yet", "wait"];
  if (age <= SILENT) return [`seen ${Math.round(age)} s ago`, "good"];
  return [`silent for ${duration(age)}`, "bad"];
}

function remember(before, after) {
  if (before === "checking") return;
  const item = document.createElement("li");
  item.textContent = `${clock(silentSince ?? new Date())} ${names[before]} → ${names[after]}`;
  const list = $("history").querySelector("ol");
  list.prepend(item);
  while (list.children.length > CHANGES) list.lastChild.remove();
  $("history").hidden = false;
}

let asking = false;
let nextLook;

/** One look, then the next; never two at once, and none while nobody can see the page. */
export async function poll() {
  clearTimeout(nextLook);
  if (asking || document.hidden) return;
  asking = true;
  const started = Date.now();
  try {
    await look();
  } finally {
    asking = false;
    nextLook = setTimeout(poll, Math.max(500, POLL - (Date.now() - started)));
  }
}
