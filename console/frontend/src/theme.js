// Runs before the first paint: turns the chosen theme ("auto" follows the system) into Tabler's attribute.
const root = document.documentElement;
const system = window.matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  const choice = root.dataset.themeChoice ?? "auto";
  root.dataset.bsTheme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
}

applyTheme();
system.addEventListener("change", applyTheme);
