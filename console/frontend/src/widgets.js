// Copy buttons and menus.

export function startCopyButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const label = button.querySelector("[data-copy-label]") ?? button;
    const before = label.textContent;
    try {
      await copyText(button.dataset.copy);
      label.textContent = button.dataset.copied;
    } catch {
      label.textContent = button.dataset.copyFailed;
    }
    setTimeout(() => (label.textContent = before), 1500);
  });
}

/** The clipboard API exists on https and loopback only; a console on a plain address falls back to a selection. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copy refused");
}

/** <details class="menu"> closes on Escape and on a click elsewhere, as menus do. */
export function startMenus() {
  const closeAll = (except) =>
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (menu !== except) menu.open = false;
    });
  document.addEventListener("click", (event) => closeAll(event.target.closest?.("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.("details.menu[open]");
    closeAll(null);
    menu?.querySelector("summary").focus();
  });
}
