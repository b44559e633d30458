// Translates the texts of the other scripts, which come after this one. The constant LANGUAGE is
// from the script with the language of the page.

function gettext(text, values = {}) {
  return fillIn((LANGUAGE.texts[text] ?? [text])[0], values);
}

// Every language here has two forms: one for the count 1, and one for any other count.
function ngettext(one, many, count, values = {}) {
  const [first, second] = LANGUAGE.texts[one] ?? [one, many];
  return fillIn(count === 1 ? first : second, { count: formatNumber(count), ...values });
}

function fillIn(text, values) {
  return text.replace(/%(?:%|\((\w+)\)s)/g, (found, name) => (name ? String(values[name] ?? found) : "%"));
}

function formatNumber(value, options) {
  return new Intl.NumberFormat(LANGUAGE.tag, options).format(value);
}

function formatTime(options) {
  return new Intl.DateTimeFormat(LANGUAGE.tag, { hourCycle: "h23", ...options });
}

// Reads a number of the page, which the server wrote. A dash is none.
function parseNumber(text) {
  if (text === "—") return null;
  const plain = text.replaceAll(LANGUAGE.group, "").replace(LANGUAGE.decimal, ".");
  return text.endsWith("%") ? parseFloat(plain) / 100 : Number(plain);
}

// The zone of a page, which the server may know under a name that the browser does not.
function knownZone(name) {
  try {
    return formatTime({ timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return "UTC";
  }
}
