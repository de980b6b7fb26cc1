// How a run stands, in a few words.

export const STATES = { queued: "Queued", running: "Running", done: "Done", failed: "Failed", stopped: "Stopped" };
export const plainTime = seconds => {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
};
export const chip = run => run.stopping ? "Stopping" : run.waiting ? "Waiting" : STATES[run.state];

export function facts(run) {
  if (run.state === "queued") return ["waits for its turn"];
  if (run.waiting) return ["waits for a run of another studio"];
  if (run.state === "failed") return [run.sentence];
  const said = [];
  if (run.latest.loss !== undefined) said.push(`loss ${run.latest.loss.toPrecision(4)}`);
  if (run.state === "running" && run.latest.images_per_second) said.push(`${Math.round(run.latest.images_per_second)} images/s`);
  if (run.left === 0) said.push("finishing"); // the budget is spent; what is left is to judge and to write
  else said.push(run.left !== null ? `${plainTime(run.left)} left` : plainTime(run.seconds));
  return said;
}
