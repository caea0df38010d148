// The console's script. Pages work without it (links and forms are plain); it adds live refresh, the dialog,
// local times and copy buttons. No inline script and no eval: the Content-Security-Policy forbids both.

import "htmx.org";
import "htmx.org/dist/ext/hx-sse.js";
import { startDialog } from "./dialog.js";
import { startKeyboard } from "./keyboard.js";
import { startLive } from "./live.js";
import { startTimes } from "./times.js";
import { startCopyButtons, startMenus } from "./widgets.js";

startLive();
startDialog();
startTimes();
startKeyboard();
startCopyButtons();
startMenus();
