// The one modal dialog of a page. A response swapped into #dialog opens it; the event `dialog-done`, which the
// server sends with a successful answer, closes it. Focus returns to the control that opened it.

export function startDialog() {
  const dialog = document.getElementById("dialog");
  if (!dialog) return;
  let opener = null;

  document.addEventListener("htmx:after:swap", () => {
    if (dialog.open || dialog.childElementCount === 0) return;
    opener = document.activeElement;
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
  });
  document.addEventListener("dialog-done", () => dialog.close());
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    const target = opener?.isConnected ? opener : opener?.id && document.getElementById(opener.id);
    target?.focus();
  });
  dialog.addEventListener("click", (event) => {
    const onBackdrop = event.target === dialog;
    if (onBackdrop || event.target.closest("[data-dialog-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
}
