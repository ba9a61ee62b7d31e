// One page: the state of the stack, looked at every two seconds, and the deals that it found.

import { loadDeals } from "./deals.js";
import { onChange, poll, state } from "./stack.js";

const REFRESH = 15_000; // ms between two quiet refreshes of the deals

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
