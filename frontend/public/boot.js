// The phases of the last boot, or of the one in progress.

import { $, clock, duration, mark, timeElement } from "./page.js";

const marks = { answered: "good", applied: "good", serving: "good", failed: "bad", "timed out": "bad" };

/** Show what /overview tells of the phases that have begun; `migrations` is the schema's state now. */
export function showBoot(phases, migrations) {
  $("boot").hidden = !phases.length;
  if (!phases.length) return;

  const known = Object.fromEntries(phases.map((phase) => [phase.name, phase]));
  const over = Boolean(known.application?.outcome);
  $("boot-heading").textContent = over ? "Last boot" : "Boot in progress";
  for (const row of $("phases").tBodies[0].rows) showPhase(row, known[row.dataset.phase], migrations);

  const began = new Date(phases[0].began);
  const last = phases.at(-1);
  const seconds = (new Date(last.began) - began) / 1000 + last.seconds;
  if ($("boot-began").dataset.began !== phases[0].began) {
    $("boot-began").dataset.began = phases[0].began;
    $("boot-began").replaceChildren(`Began at ${clock(began)}, `, timeElement(began));
  }
  mark($("boot-total"), over ? `; it served after ${duration(seconds)}.` : ".");
}

function showPhase(row, phase, migrations) {
  const [, took, attempts, outcome] = row.cells;
  mark(took, phase ? duration(phase.seconds) : "–");
  mark(attempts, phase ? String(phase.attempts) : "–");
  if (!phase) mark(outcome, "to come", "later");
  else if (!phase.outcome) mark(outcome, "under way", "now");
  else if (phase.outcome === "failed" && migrations === "current") mark(outcome, "failed, applied since", "wait");
  else mark(outcome, phase.outcome, marks[phase.outcome] ?? "wait");
}
