// The phases of the last boot or of the boot in progress.

import { $, clock, duration, mark, timeElement } from "./page.js";

const marks = { answered: "good", applied: "good", serving: "good", failed: "bad", "timed out": "bad" };

/** Show the phases from /overview; `migrations` is the current state of the schema. */
export function showBoot(phases, migrations) {
  $("boot").hidden = !phases.length;
  if (!phases.length) return;

  const byName = Object.fromEntries(phases.map((phase) => [phase.name, phase]));
  const isComplete = Boolean(byName.application?.outcome);
  $("boot-heading").textContent = isComplete ? "Last boot" : "Boot in progress";
  for (const row of $("phases").tBodies[0].rows) showPhase(row, byName[row.dataset.phase], migrations);

  const startedAt = new Date(phases[0].began);
  const last = phases.at(-1);
  const seconds = (new Date(last.began) - startedAt) / 1000 + last.seconds;
  if ($("boot-began").dataset.began !== phases[0].began) {
    $("boot-began").dataset.began = phases[0].began;
    $("boot-began").replaceChildren(`Started at ${clock(startedAt)}, `, timeElement(startedAt));
  }
  mark($("boot-total"), isComplete ? `; ready after ${duration(seconds)}.` : ".");
}

function showPhase(row, phase, migrations) {
  const [, seconds, attempts, outcome] = row.cells;
  mark(seconds, phase ? duration(phase.seconds) : "–");
  mark(attempts, phase ? String(phase.attempts) : "–");
  if (!phase) mark(outcome, "pending", "later");
  else if (!phase.outcome) mark(outcome, "in progress", "now");
  else if (phase.outcome === "failed" && migrations === "current") mark(outcome, "failed, applied later", "wait");
  else mark(outcome, phase.outcome, marks[phase.outcome] ?? "wait");
}
