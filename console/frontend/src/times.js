// Times travel as UTC in <time datetime>. Here they become the reader's zone and language; without this script
// the UTC text that the server wrote stays. data-time: "relative" ("3 minutes ago") or "absolute".

const STEPS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", Infinity],
];
const REFRESH_MILLISECONDS = 5000;

export function startTimes() {
  const language = document.documentElement.lang || "en";
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const absolute = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

  const show = (element) => {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) return;
    const full = absolute.format(moment);
    const text = element.dataset.time === "relative" ? relativeText(relative, moment) : full;
    if (element.textContent !== text) element.textContent = text;
    if (element.title !== full) element.title = full;
  };
  const showAll = () => document.querySelectorAll("time[data-time]").forEach(show);

  showAll();
  document.addEventListener("htmx:after:swap", showAll);
  setInterval(showAll, REFRESH_MILLISECONDS);
}

function relativeText(format, moment) {
  let amount = Math.round((moment.getTime() - Date.now()) / 1000);
  // A clock that runs a little behind the server's would otherwise say "in 1 second".
  if (amount > 0 && amount < 3) amount = 0;
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return format.format(amount, unit);
    amount = Math.trunc(amount / size);
  }
  return "";
}
