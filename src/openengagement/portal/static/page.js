// Optional helpers for every page: Copy buttons, times in the reader's own time zone, forms that a
// double click sends once, and text that stays in the other forms of a page.

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

// Times are those of the page's zone, or of the reader's on a page that names none, with UTC on demand. The
// lists of an author say once whose times they show; everywhere else, each time names its zone.
const timeZone = zoned ? knownZone(zoned.dataset.zone) : undefined;
const parts = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone };
const unnamed = formatTime(parts);
const named = formatTime({ ...parts, timeZoneName: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  time.title = time.textContent;
  const format = time.closest("main.sheet") ? unnamed : named;
  time.textContent = format.format(new Date(time.dateTime));
}

// A row of tabs that scrolls shows the tab of the page.
for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
  const row = tab.parentElement;
  row.scrollLeft = tab.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
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

// A form leads to another page. What was typed in the other forms comes back where they are shown
// again, in this tab; so does the sent form for somebody who goes back, as after an error of the
// server. Passwords and codes are not kept, and nothing is kept for another person.
const KEPT_MS = 15 * 60_000;
const PRIVATE = ["password", "hidden", "file", "submit", "button"];
// The value that a form was shown with, by which the server notices somebody else's change.
const isBefore = (control) => "kept" in control.dataset;
const person = document.querySelector(".who .name")?.textContent ?? "";
const controls = [...document.querySelectorAll("form[method=post] :is(input, select, textarea)")]
  .filter((control) => isBefore(control) || (!PRIVATE.includes(control.type) && control.autocomplete !== "one-time-code"));
const pathOf = (form) => new URL(form.getAttribute("action"), location.href).pathname;
const keyOf = (control) => `${pathOf(control.form)} ${control.name} ${control.type === "radio" ? control.value : ""}`;
const isTick = (control) => control.type === "checkbox" || control.type === "radio";
const isChanged = (control) => isTick(control) ? control.checked !== control.defaultChecked
  : control.options ? [...control.options].some((each) => each.selected !== each.defaultSelected)
  : control.value !== control.defaultValue;
let sentForm = null;
const kept = JSON.parse(sessionStorage.getItem("typed") ?? "{}");
const isBack = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
const typed = kept.person !== person || Date.now() > kept.until ? {} : isBack ? { ...kept.typed, ...kept.sent } : kept.typed;
for (const control of controls) {
  const key = keyOf(control);
  if (!(key in typed)) continue;
  if (isTick(control)) control.checked = typed[key];
  else control.value = typed[key];
  delete typed[key];
  const fold = control.closest("details");
  if (fold) fold.open = true;
}
addEventListener("submit", (event) => { sentForm = event.target; });
addEventListener("pagehide", () => {
  const sent = {};
  const changed = new Set(controls.filter(isChanged).map((control) => control.form));
  for (const control of controls.filter((each) => isChanged(each) || (isBefore(each) && changed.has(each.form)))) {
    (control.form === sentForm ? sent : typed)[keyOf(control)] = isTick(control) ? control.checked : control.value;
  }
  const until = changed.size ? Date.now() + KEPT_MS : kept.until;
  const isOver = sentForm && pathOf(sentForm) === "/sign-out";
  if (isOver) sessionStorage.removeItem("typed");
  else sessionStorage.setItem("typed", JSON.stringify({ person, typed, sent, until }));
});
