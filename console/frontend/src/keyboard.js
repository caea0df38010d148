// "/" goes to the search field, j and k walk the rows of the page's list, Enter follows the row's link.

export function startKeyboard() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "k") {
      moveRow(event.key === "j" ? 1 : -1);
    }
  });
}

function isTyping(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") != null;
}

function moveRow(step) {
  const links = [...document.querySelectorAll("[data-row-link]")];
  if (links.length === 0) return;
  const current = document.activeElement?.closest("tr")?.querySelector("[data-row-link]");
  const position = links.indexOf(current);
  const next = position === -1 ? (step > 0 ? 0 : links.length - 1) : position + step;
  links[Math.min(links.length - 1, Math.max(0, next))].focus();
}
