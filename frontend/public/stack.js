// The state of the stack: a summary, the details and the latest changes.

import { fetchJson, RequestError } from "./api.js";
import { showBoot } from "./boot.js";
import { $, announce, clock, duration, mark, timeElement } from "./page.js";

const POLL_INTERVAL = 2_000; // ms
const MAX_HEARTBEAT_AGE = 30; // seconds, as in the probes
const CHANGES = 5; // changes of state that are shown

const names = {
  healthy: "Healthy",
  starting: "Starting",
  degraded: "Degraded",
  unhealthy: "Unhealthy",
  unreachable: "Unreachable",
};
const startingSentences = {
  waiting: "The backend is waiting for the database",
  migrating: "The backend is migrating the schema",
};
const serviceNames = { worker: "The worker", beat: "Beat" };
const degradedSentences = {
  behind: "The backend is running, but the schema is behind this version.",
  ahead: "The backend is running, but the schema is newer than this version.",
  failed: "The backend is running, but the schema is not current: its migration failed.",
  unknown: "The backend is running, but the state of the schema is unknown.",
};

/**
 * Summarize a body of /overview: a state, as in `inv health`, and a sentence. `spoken` is for screen
 * readers, without a number that changes too often to be read out.
 */
function summarize({ phase = "serving", db, redis, migrations, phases, heartbeats, attempt, attempts }) {
  if (phase !== "serving") {
    const isLastPhase = phases?.at(-1)?.name === "application";
    const text = isLastPhase ? "The application is starting" : startingSentences[phase] ?? "The backend is starting";
    const sentence = attempt ? `${text}, attempt ${attempt}${attempts ? ` of ${attempts}` : ""}.` : `${text}.`;
    return { state: "starting", sentence, spoken: phase === "waiting" ? `${text}.` : sentence };
  }
  if (!db && !redis) return { state: "unhealthy", sentence: "Neither the database nor Redis answers." };
  if (!db) return { state: "unhealthy", sentence: "The database does not answer." };
  if (!redis) return { state: "unhealthy", sentence: "Redis does not answer." };
  if (migrations !== "current") {
    return { state: "degraded", sentence: degradedSentences[migrations] ?? degradedSentences.unknown };
  }
  const missing = Object.entries(heartbeats ?? {}).filter(([, age]) => age === null || age > MAX_HEARTBEAT_AGE);
  const warnings = missing.map(([name]) => ` ${serviceNames[name] ?? name} sends no heartbeat.`).join("");
  return { state: "healthy", sentence: `All dependencies answer, and the schema is current.${warnings}` };
}

let current = { state: "checking", sentence: "", spoken: "" };
let listener = () => {};
let lastResponse; // { state, at }
let failingSince; // the start of the first failed request

export const state = () => current.state;

/** Call `listen` with the previous and the new state whenever the state changes. */
export function onChange(listen) {
  listener = listen;
}

async function check() {
  const startedAt = new Date();
  try {
    const { body } = await fetchJson("overview");
    if (typeof body?.db !== "boolean" || typeof body.redis !== "boolean") {
      throw new RequestError("the response is not from the backend");
    }
    const summary = summarize(body);
    lastResponse = { state: summary.state, at: new Date() };
    failingSince = undefined;
    showDetails(body);
    showState(summary);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    failingSince ??= startedAt;
    const history = lastResponse
      ? `Last known state: ${names[lastResponse.state].toLowerCase()}.`
      : "It has not answered since this page was opened.";
    showState({ state: "unreachable", sentence: `Since ${clock(failingSince)}: ${error.message}. ${history}` });
  }
}

function showState({ state, sentence, spoken = sentence }) {
  $("stale").hidden = state !== "unreachable" || !lastResponse;
  if (lastResponse) {
    const time = $("stale").querySelector("time");
    time.dateTime = lastResponse.at.toISOString();
    time.textContent = clock(lastResponse.at);
  }
  $("checked").replaceChildren("Checked ", timeElement(new Date()));
  const before = current;
  current = { state, sentence, spoken };
  if (sentence !== before.sentence) $("sentence").textContent = sentence;
  if (state === before.state && spoken === before.spoken) return;

  $("stack").dataset.state = state;
  $("icon").setAttribute("href", `#icon-${state}`);
  $("state").textContent = names[state];
  document.title = `${names[state]} – deal-scout`;
  announce(`${names[state]}. ${spoken}`);
  if (state !== before.state) {
    addToHistory(before.state, state);
    listener(before.state, state);
  }
}

function showDetails({ db, redis, queue_depth: queue, migrations, version, phases, heartbeats }) {
  const answers = (up) => (up ? ["answers", "good"] : ["no answer", "bad"]);
  mark($("db"), ...answers(db));
  mark($("redis"), ...answers(redis));
  mark($("queue"), typeof queue === "number" ? `${queue} unfinished` : "unknown");
  mark($("schema"), migrations ?? "unknown", { current: "good", failed: "bad" }[migrations] ?? "wait");
  mark($("worker"), ...heartbeat(heartbeats?.worker));
  mark($("beat"), ...heartbeat(heartbeats?.beat));
  mark($("version"), version ?? "unknown");
  showBoot(phases ?? [], migrations);
}

/** Return the text and mark for a heartbeat's age in seconds; null if there was none for a day. */
function heartbeat(age) {
  if (age === undefined) return ["unknown"];
  if (age === null) return ["no heartbeat yet", "wait"];
  if (age <= MAX_HEARTBEAT_AGE) return [`seen ${Math.round(age)} s ago`, "good"];
  return [`last seen ${duration(age)} ago`, "bad"];
}

function addToHistory(before, after) {
  if (before === "checking") return;
  const item = document.createElement("li");
  item.textContent = `${clock(failingSince ?? new Date())} ${names[before]} → ${names[after]}`;
  const list = $("history").querySelector("ol");
  list.prepend(item);
  while (list.children.length > CHANGES) list.lastChild.remove();
  $("history").hidden = false;
}

let isChecking = false;
let nextPoll;

/** Check now and then repeatedly; never twice at once, and not while the page is hidden. */
export async function poll() {
  clearTimeout(nextPoll);
  if (isChecking || document.hidden) return;
  isChecking = true;
  const startedAt = Date.now();
  try {
    await check();
  } finally {
    isChecking = false;
    nextPoll = setTimeout(poll, Math.max(500, POLL_INTERVAL - (Date.now() - startedAt)));
  }
}
