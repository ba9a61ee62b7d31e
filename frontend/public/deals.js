// The deals: a page of them, searched and turned, and the button that has more looked for.

import { ask, complaint, NoAnswer } from "./api.js";
import { $, announce, clock, enable, onPress, timeElement } from "./page.js";

const TIMEOUT = 10_000; // ms that an answer may take
const DEBOUNCE = 250;
const PAGE = 20; // deals on a page

const address = new URLSearchParams(location.search);
const view = {
  q: (address.get("q") ?? "").trim(),
  offset: Math.min(Math.max(0, parseInt(address.get("offset"), 10) || 0), 1_000_000),
};
let request; // the controller of the request under way; what an older one brings is dropped
let table = {}; // what the table shows: the query, and the items as text

/** Load the page of deals that `view` asks for. A quiet refresh changes nothing unless the deals did. */
export async function loadDeals({ quiet = false } = {}) {
  if (quiet && request) return;
  request?.abort();
  const controller = (request = new AbortController());
  const query = new URLSearchParams({ limit: PAGE, offset: view.offset });
  if (view.q) query.set("q", view.q);
  if (!quiet) $("deals").setAttribute("aria-busy", "true");
  try {
    const answer = await ask(`deals?${query}`, { controller, timeout: TIMEOUT });
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
      timeout: TIMEOUT,
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
