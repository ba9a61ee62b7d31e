// What all parts of the page share: finding elements, telling people, times, buttons.
// What comes from outside is put in as text, never as HTML.

export const $ = (id) => document.getElementById(id);
export const clock = (date) => date.toLocaleTimeString("en-GB");

/** Tell screen readers, once they are done with what they are saying. */
export function announce(text) {
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

export function timeElement(date) {
  const element = document.createElement("time");
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.dataset.relative = ""; // kept up to date below
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

/** Seconds in the largest unit that makes sense. */
export function duration(seconds) {
  if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3_570) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

/** Put a text into an element, and whether it is `good`, `bad` or something to `wait` for. */
export function mark(element, text, how = "") {
  if (element.textContent !== text) element.textContent = text;
  if (how) element.dataset.mark = how;
  else delete element.dataset.mark;
}

/** Off, but still in the tab order, so that the keyboard's place is not lost. */
export function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

export function onPress(button, action) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") action();
  });
}
