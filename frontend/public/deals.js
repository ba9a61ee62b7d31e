// The deals: a table with search and pages, and the button that sends a scout.

import { errorReason, fetchJson, RequestError } from "./api.js";
import { $, announce, clock, enable, onPress, timeElement } from "./page.js";

const TIMEOUT = 10_000; // ms for a response
const DEBOUNCE = 250; // ms
const PAGE = 20; // deals per page

const address = new URLSearchParams(location.search);
const view = {
  q: (address.get("q") ?? "").trim(),
  offset: Math.min(Math.max(0, parseInt(address.get("offset"), 10) || 0), 1_000_000),
};
let request; // the controller of the current request; responses to older ones are dropped
let table = {}; // the query and the items, as text, in the table

/** Load the page of deals in `view`. A quiet refresh changes nothing unless the deals changed. */
export async function loadDeals({ quiet = false } = {}) {
  if (quiet && request) return;
  request?.abort();
  const controller = (request = new AbortController());
  const query = new URLSearchParams({ limit: PAGE, offset: view.offset });
  if (view.q) query.set("q", view.q);
  if (!quiet) $("deals").setAttribute("aria-busy", "true");
  try {
    const response = await fetchJson(`deals?${query}`, { controller, timeout: TIMEOUT });
    if (request !== controller) return;
    if (!Array.isArray(response.body?.items)) throw new RequestError(errorReason(response));
    showDeals(response.body, String(query), quiet);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
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
    showPage(Math.floor((total - 1) / PAGE) * PAGE); // this page no longer exists
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

  const empty = view.q ? `No deal matches “${view.q}”.` : "No deals yet. “Scout now” searches for some.";
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

function dealRow({ title, url, price, currency, source, found_at: foundAt }) {
  const row = $("row").content.cloneNode(true);
  const [titleCell, priceCell, sourceCell, foundCell] = row.querySelectorAll("td");
  titleCell.append(link(title || url || "Untitled", url));
  priceCell.textContent = money(price, currency);
  sourceCell.textContent = source ?? "";
  const date = new Date(foundAt ?? NaN);
  foundCell.append(Number.isNaN(date.valueOf()) ? "–" : timeElement(date));
  return row;
}

/** Return a link if the URL is http(s), else the text. */
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
    return [price, currency].filter(Boolean).join(" "); // an unknown currency code
  }
}

/** Show the error. Rows of the same query stay, marked as out of date. */
function showFailure(reason, query, quiet) {
  const isSameQuery = table.query === query;
  const text = isSameQuery ? `The deals are out of date: ${reason}.` : `The deals could not be loaded: ${reason}.`;
  $("failure").firstElementChild.textContent = text;
  $("failure").hidden = false;
  $("note").hidden = true;
  if (!isSameQuery) $("table").hidden = $("pages").hidden = true;
  if (!quiet) announce(text);
}

function showPage(offset) {
  view.offset = Math.max(0, offset);
  const query = new URLSearchParams();
  if (view.q) query.set("q", view.q);
  if (view.offset) query.set("offset", view.offset);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  loadDeals();
}

function turnPage(step) {
  showPage(view.offset + step);
  if ($("deals-heading").getBoundingClientRect().top < 0) $("deals-heading").scrollIntoView();
}

async function scout() {
  enable($("scout"), false);
  $("scouted").hidden = true;
  try {
    const response = await fetchJson("scouts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
      timeout: TIMEOUT,
    });
    if (!response.ok) {
      const retry = response.retryAfter ? `. Try again in ${response.retryAfter} s` : "";
      throw new RequestError(`${errorReason(response)}${retry}`);
    }
    const feed = response.body?.feed ? ` (feed: ${response.body.feed})` : "";
    showScout(`${clock(new Date())} Scout sent${feed}. New deals will appear here.`);
    for (const delay of [1_500, 5_000]) setTimeout(() => loadDeals({ quiet: true }), delay);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    showScout(`${clock(new Date())} Sending the scout failed: ${error.message}.`, true);
  } finally {
    enable($("scout"), true);
  }
}

function showScout(text, isError = false) {
  $("scouted").textContent = text;
  $("scouted").classList.toggle("bad", isError);
  $("scouted").hidden = false;
  announce(text);
}

let typing;

function search() {
  clearTimeout(typing);
  const q = $("q").value.trim();
  if (q === view.q) return;
  view.q = q;
  showPage(0);
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
