// One page: the health of the stack, asked every two seconds, and the deals that it found.
// What comes from outside is put in as text, never as HTML.

const POLL = 2_000; // ms between two looks at the health
const TIMEOUT = 3_000; // ms that one look may take
const DEALS_TIMEOUT = 10_000;
const REFRESH = 15_000; // ms between two quiet refreshes of the deals
const DEBOUNCE = 250;
const PAGE = 20; // deals on a page
const CHANGES = 5; // changes of state that are kept

const $ = (id) => document.getElementById(id);
const clock = (date) => date.toLocaleTimeString("en-GB");

// Asking the API

/** Nothing usable came back; the message says why, as the end of a sentence. */
class NoAnswer extends Error {}

/** Ask the API. Gives back the status and the body; throws NoAnswer when the backend did not speak. */
async function ask(path, { controller = new AbortController(), timeout = TIMEOUT, ...options } = {}) {
  const timer = setTimeout(() => controller.abort(), timeout);
  try {
    const response = await fetch(`api/${path}`, {
      cache: "no-store",
      ...options,
      headers: { Accept: "application/json", ...options.headers },
      signal: controller.signal,
    });
    const text = await response.text();
    if (response.status === 502 || response.status === 504) {
      throw new NoAnswer("the backend does not answer");
    }
    return { ok: response.ok, status: response.status, retryAfter: response.headers.get("Retry-After"), body: parse(text) };
  } catch (error) {
    if (error instanceof NoAnswer) throw error;
    if (controller.signal.aborted) throw new NoAnswer(`no answer within ${timeout / 1000} s`);
    throw new NoAnswer("the server of this page does not answer");
  } finally {
    clearTimeout(timer);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What an answer other than 2xx says is wrong, as the end of a sentence. */
function complaint({ status, body }) {
  if (body?.detail === "starting") return "the backend is starting";
  return typeof body?.detail === "string" ? body.detail : `the backend answered with status ${status}`;
}

// Telling people

/** Tell screen readers, once they are done with what they are saying. */
function announce(text) {
  const message = document.createElement("p"); // one each: none drowns another, and twice is twice
  message.textContent = text;
  $("live").append(message);
  setTimeout(() => message.remove(), 10_000);
}

const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const units = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

function relative(date) {
  const seconds = Math.max(0, Math.round((Date.now() - date) / 1000)); // clocks differ: never "in 2 seconds"
  if (seconds > 30 * 86_400) return date.toLocaleDateString();
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? units.at(-1);
  return words.format(-Math.floor(seconds / size), unit);
}

function timeElement(date) {
  const element = document.createElement("time");
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.dataset.relative = "";
  element.textContent = relative(date);
  return element;
}

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const text = relative(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}, 1_000);

// The state of the stack

const names = {
  healthy: "Healthy",
  starting: "Starting",
  degraded: "Degraded",
  unhealthy: "Unhealthy",
  unreachable: "Unreachable",
};
const phases = {
  waiting: "The backend is waiting for the database",
  migrating: "The backend is migrating the schema",
};
const schemas = {
  behind: "It serves, but the schema is behind this version.",
  ahead: "It serves, but the schema is newer than this version.",
  failed: "It serves, but the schema is not current: its migration failed.",
  unknown: "It serves, but whether the schema is current is not known.",
};

/** What a body of /health means, in one word and one sentence; the same states as `inv health`. */
function judge({ phase = "serving", db, redis, migrations, attempt, attempts }) {
  if (phase !== "serving") {
    const counted = attempt ? `, attempt ${attempt}${attempts ? ` of ${attempts}` : ""}` : "";
    return { state: "starting", sentence: `${phases[phase] ?? "The backend is starting"}${counted}.` };
  }
  if (!db && !redis) return { state: "unhealthy", sentence: "Neither the database nor Redis answers." };
  if (!db) return { state: "unhealthy", sentence: "The database does not answer." };
  if (!redis) return { state: "unhealthy", sentence: "Redis does not answer." };
  if (migrations !== "current") {
    return { state: "degraded", sentence: schemas[migrations] ?? schemas.unknown };
  }
  return { state: "healthy", sentence: "Everything answers, and the schema is current." };
}

let shown = { state: "checking", sentence: "" };
let known; // the last answer: { state, at }
let silentSince; // when the first of the failed looks began

async function checkHealth() {
  const started = new Date();
  try {
    const { body } = await ask("health");
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

function showState({ state, sentence }) {
  $("stale").hidden = state !== "unreachable" || !known;
  if (known) {
    const time = $("stale").querySelector("time");
    time.dateTime = known.at.toISOString();
    time.textContent = clock(known.at);
  }
  $("checked").replaceChildren("Checked ", timeElement(new Date()));
  if (state === shown.state && sentence === shown.sentence) return;

  $("stack").dataset.state = state;
  $("icon").setAttribute("href", `#icon-${state}`);
  $("state").textContent = names[state];
  $("sentence").textContent = sentence;
  document.title = `${names[state]} – deal-scout`;
  announce(`${names[state]}. ${sentence}`);
  if (state !== shown.state) {
    remember(shown.state, state);
    if (shown.state !== "checking" && state !== "unreachable") loadDeals({ quiet: true });
  }
  shown = { state, sentence };
}

function showDetails({ db, redis, queue_depth: queue, migrations, version }) {
  const answers = (up) => (up ? ["answers", "good"] : ["does not answer", "bad"]);
  detail("db", ...answers(db));
  detail("redis", ...answers(redis));
  detail("queue", typeof queue === "number" ? `${queue} waiting` : "not known");
  detail("schema", migrations ?? "unknown", { current: "good", failed: "bad" }[migrations] ?? "wait");
  detail("version", version ?? "not known");
}

function detail(id, text, mark) {
  $(id).textContent = text;
  if (mark) $(id).dataset.mark = mark;
  else delete $(id).dataset.mark;
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

/** One look at the health, then the next; never two at once, and none while nobody can see the page. */
async function poll() {
  clearTimeout(nextLook);
  if (asking || document.hidden) return;
  asking = true;
  const started = Date.now();
  try {
    await checkHealth();
  } finally {
    asking = false;
    nextLook = setTimeout(poll, Math.max(500, POLL - (Date.now() - started)));
  }
}

// The deals

const address = new URLSearchParams(location.search);
const view = {
  q: (address.get("q") ?? "").trim(),
  offset: Math.min(Math.max(0, parseInt(address.get("offset"), 10) || 0), 1_000_000),
};
let request; // the controller of the request under way; what an older one brings is dropped
let table = {}; // what the table shows: the query, and the items as text

/** Load the page of deals that `view` asks for. A quiet refresh changes nothing unless the deals did. */
async function loadDeals({ quiet = false } = {}) {
  if (quiet && request) return;
  request?.abort();
  const controller = (request = new AbortController());
  const query = new URLSearchParams({ limit: PAGE, offset: view.offset });
  if (view.q) query.set("q", view.q);
  if (!quiet) $("deals").setAttribute("aria-busy", "true");
  try {
    const answer = await ask(`deals?${query}`, { controller, timeout: DEALS_TIMEOUT });
    if (request !== controller) return;
    if (!Array.isArray(answer.body?.items)) throw new NoAnswer(complaint(answer));
    showDeals(answer.body, String(query), quiet);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    if (request === controller) showFailure(error.message, String(query), quiet);
  } finally {
    if (request === controller) {
      request = undefined;
      $("deals").removeAttribute("aria-busy");
    }
  }
}

function showDeals({ items, total }, query, quiet) {
  if (!items.length && total > 0 && view.offset > 0) {
    turnTo(Math.floor((total - 1) / PAGE) * PAGE); // the page that it was is gone
    return;
  }
  if ($("retry") === document.activeElement) $("deals-heading").focus();
  $("failure").hidden = true;
  const last = view.offset + items.length;
  const range = `${view.offset + 1}–${last} of ${total}`;
  $("range").textContent = range;
  $("pages").hidden = !items.length;
  $("previous").hidden = $("next").hidden = total <= PAGE;
  enable($("previous"), view.offset > 0);
  enable($("next"), last < total);

  const empty = view.q ? `No deal matches “${view.q}”.` : "No deals yet. “Scout now” looks for some.";
  $("note").textContent = items.length ? "" : empty;
  $("note").hidden = items.length > 0;
  $("table").hidden = !items.length;
  if (!quiet && table.query !== undefined) announce(items.length ? `Deals ${range}` : empty);

  const text = JSON.stringify(items);
  if (text !== table.text) {
    const focused = document.activeElement.closest?.("#table a")?.href;
    $("table").tBodies[0].replaceChildren(...items.map(dealRow));
    if (focused) [...$("table").querySelectorAll("a")].find((a) => a.href === focused)?.focus({ preventScroll: true });
  }
  table = { query, text };
}

function dealRow({ title, url, price, currency, source, found_at: found }) {
  const row = $("row").content.cloneNode(true);
  const [titleCell, priceCell, sourceCell, foundCell] = row.querySelectorAll("td");
  titleCell.append(link(title || url || "Untitled", url));
  priceCell.textContent = money(price, currency);
  sourceCell.textContent = source ?? "";
  const date = new Date(found ?? NaN);
  foundCell.append(Number.isNaN(date.valueOf()) ? "–" : timeElement(date));
  return row;
}

/** A link if the address is one for a browser; else the bare text. */
function link(text, url) {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) return text;
  const a = document.createElement("a");
  a.href = url;
  a.rel = "noopener noreferrer";
  a.textContent = text;
  return a;
}

function money(price, currency) {
  if (price === null || price === undefined || price === "") return "–";
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(price);
  } catch {
    return [price, currency].filter(Boolean).join(" "); // not a code that the browser knows
  }
}

/** Keep the rows if they are what was asked for, and say that they are old. */
function showFailure(reason, query, quiet) {
  const kept = table.query === query;
  const text = kept ? `The deals are not up to date: ${reason}.` : `The deals could not be loaded: ${reason}.`;
  $("failure").firstElementChild.textContent = text;
  $("failure").hidden = false;
  $("note").hidden = true;
  if (!kept) $("table").hidden = $("pages").hidden = true;
  if (!quiet) announce(text);
}

function turnTo(offset) {
  view.offset = Math.max(0, offset);
  const query = new URLSearchParams();
  if (view.q) query.set("q", view.q);
  if (view.offset) query.set("offset", view.offset);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  loadDeals();
}

/** Off, but still in the tab order, so that the keyboard's place is not lost. */
function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

function onPress(button, action) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") action();
  });
}

function turnPage(step) {
  turnTo(view.offset + step);
  if ($("deals-heading").getBoundingClientRect().top < 0) $("deals-heading").scrollIntoView();
}

async function scout() {
  enable($("scout"), false);
  $("scouted").hidden = true;
  try {
    const answer = await ask("scouts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
      timeout: DEALS_TIMEOUT,
    });
    if (!answer.ok) {
      const later = answer.retryAfter ? `. Try again in ${answer.retryAfter} s` : "";
      throw new NoAnswer(`${complaint(answer)}${later}`);
    }
    const feed = answer.body?.feed ? ` (feed: ${answer.body.feed})` : "";
    tellScout(`${clock(new Date())} A scout is on its way${feed}. What it finds appears here.`);
    for (const delay of [1_500, 5_000]) setTimeout(() => loadDeals({ quiet: true }), delay);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    tellScout(`${clock(new Date())} No scout was sent: ${error.message}.`, true);
  } finally {
    enable($("scout"), true);
  }
}

function tellScout(text, bad = false) {
  $("scouted").textContent = text;
  $("scouted").classList.toggle("bad", bad);
  $("scouted").hidden = false;
  announce(text);
}

// Beginning

let typing;

function search() {
  clearTimeout(typing);
  const q = $("q").value.trim();
  if (q === view.q) return;
  view.q = q;
  turnTo(0);
}

$("q").value = view.q;
$("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, DEBOUNCE);
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
onPress($("previous"), () => turnPage(-PAGE));
onPress($("next"), () => turnPage(PAGE));
onPress($("retry"), () => loadDeals());
onPress($("scout"), scout);
document.addEventListener("visibilitychange", () => {
  poll();
  if (!document.hidden) loadDeals({ quiet: true });
});
setInterval(() => {
  if (!document.hidden && shown.state !== "unreachable") loadDeals({ quiet: true });
}, REFRESH);

poll();
loadDeals();
