// The page: the state of the stack, polled every two seconds, and the deals.

import { loadDeals } from "./deals.js";
import { onChange, poll, state } from "./stack.js";

const REFRESH = 15_000; // ms between two refreshes of the deals in the background

onChange((before, after) => {
  if (before !== "checking" && after !== "unreachable") loadDeals({ quiet: true });
});
document.addEventListener("visibilitychange", () => {
  poll();
  if (!document.hidden) loadDeals({ quiet: true });
});
setInterval(() => {
  if (!document.hidden && state() !== "unreachable") loadDeals({ quiet: true });
}, REFRESH);

poll();
loadDeals();
