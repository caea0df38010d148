// The page's one event stream. hx-sse reconnects a stream that broke, but gives up when the very first request
// fails; this module retries that one too, and says on the page whether the stream is up.

const RETRY_MILLISECONDS = 3000;

export function startLive() {
  const stream = document.getElementById("live-stream");
  if (!stream) return;
  const root = document.documentElement;
  const setState = (state) => {
    if (root.dataset.stream === state) return;
    root.dataset.stream = state;
    const announcer = document.getElementById("live-announcer");
    if (announcer && state === "down") announcer.textContent = announcer.dataset.down;
    if (announcer && state === "up") announcer.textContent = "";
  };
  let retry = 0;
  const retryLater = () => {
    setState("down");
    clearTimeout(retry);
    retry = setTimeout(() => stream.dispatchEvent(new CustomEvent("live:retry")), RETRY_MILLISECONDS);
  };

  stream.addEventListener("htmx:sse:after:connection", () => setState("up"));
  stream.addEventListener("htmx:sse:after:message", (event) => showRevision(event.detail.message.data));
  stream.addEventListener("htmx:sse:error", () => setState("down"));
  stream.addEventListener("htmx:sse:close", (event) => {
    if (event.detail.reason !== "removed") retryLater();
  });
  stream.addEventListener("htmx:error", retryLater);
  stream.addEventListener("htmx:response:error", retryLater);
  // Between a stream's end and its next connection nothing else tells that the page is behind.
  stream.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) setState("down");
  });
}

/** The header says which revision the page has heard of; events that are not about the catalogue carry 0. */
function showRevision(data) {
  const { revision } = JSON.parse(data);
  const shown = document.querySelector("#source [data-revision]");
  if (shown && revision > Number(shown.textContent)) shown.textContent = revision;
}
