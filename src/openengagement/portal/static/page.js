// Optional helpers for every page: Copy buttons, times in the reader's own time zone, and forms that
// a double click sends once.

for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.firstChild;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.textContent = gettext("Copied");
    } catch {
      // Browsers allow clipboard access only under TLS. Otherwise select the text for Ctrl+C.
      getSelection().selectAllChildren(source);
      label.textContent = gettext("Press Ctrl+C");
    }
    setTimeout(() => { label.textContent = gettext("Copy"); }, 2500);
  });
}

// Pages with days and hours of the reader's zone: tell the server the zone, then load the page once more.
const zoned = document.querySelector("[data-zone]");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zoned && !("chosen" in zoned.dataset) && zone && zone !== zoned.dataset.zone) {
  const cookie = `zone=${zone}`;
  const known = () => document.cookie.split("; ").includes(cookie);
  if (!known()) {
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax`;
    if (known()) location.reload();
  }
}

const local = formatTime({ dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  if (time.closest("main.sheet")) { // an author's lists: one time each, and UTC on demand
    time.title = time.textContent;
    time.textContent = local.format(new Date(time.dateTime));
    continue;
  }
  if (new Date(time.dateTime).getTimezoneOffset() === 0) continue; // it is as late there as in UTC
  const small = document.createElement("span");
  small.className = "local";
  small.textContent = gettext("%(time)s your time", { time: local.format(new Date(time.dateTime)) });
  time.after(small);
}

const RESENT_AFTER_MS = 5000; // somebody who stopped the page may send the form again
for (const form of document.querySelectorAll("form[method=post]")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    setTimeout(() => { sent = false; }, RESENT_AFTER_MS);
  });
  // A page that the Back button shows again may be as it was when it was left.
  addEventListener("pageshow", () => { sent = false; });
}
