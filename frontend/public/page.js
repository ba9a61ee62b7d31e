// Helpers for all parts of the page: elements, announcements, times and buttons.
// Data from the API is inserted as text, never as HTML.

export const $ = (id) => document.getElementById(id);
export const clock = (date) => date.toLocaleTimeString("en-GB");

/** Have screen readers read a text after the current one. */
export function announce(text) {
  const message = document.createElement("p"); // one per text, so that a repeated text is read again
  message.textContent = text;
  $("live").append(message);
  setTimeout(() => message.remove(), 10_000);
}

const relativeTime = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const units = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

function relative(date) {
  const seconds = Math.max(0, Math.round((Date.now() - date) / 1000)); // never "in 2 seconds", as clocks differ
  if (seconds > 30 * 86_400) return date.toLocaleDateString();
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? units.at(-1);
  return relativeTime.format(-Math.floor(seconds / size), unit);
}

export function timeElement(date) {
  const element = document.createElement("time");
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.dataset.relative = ""; // updated every second, see below
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

/** Format seconds in a suitable unit. */
export function duration(seconds) {
  if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3_570) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

/** Set an element's text and its mark, such as `good`, `bad` or `wait`. */
export function mark(element, text, kind = "") {
  if (element.textContent !== text) element.textContent = text;
  if (kind) element.dataset.mark = kind;
  else delete element.dataset.mark;
}

/** Enable or disable a button. It stays in the tab order, so that the focus is not lost. */
export function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

export function onPress(button, action) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") action();
  });
}
