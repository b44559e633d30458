// Optional helpers for the list of Tweets: the number of picked Tweets, and ticks that links keep.

const picked = document.getElementById("picked");
if (picked) {
  const boxes = [...document.querySelectorAll(".pick input")];
  const most = Number(picked.dataset.max);
  const hint = picked.textContent;
  const compare = document.getElementById("compare");
  const count = () => {
    const number = boxes.filter((box) => box.checked).length + Number(picked.dataset.elsewhere);
    const over = number > most;
    picked.textContent = !number ? hint
      : over ? gettext("%(count)s picked: remove %(more)s", { count: number, more: number - most })
      : gettext("%(count)s of at most %(most)s picked", { count: number, most });
    picked.closest(".tray").classList.toggle("over", over);
    compare.disabled = !number || over; // `picked` says why
  };
  // Ticks are part of the view: links, forms and the address keep them.
  const keep = () => {
    const ids = boxes.filter((box) => box.checked).map((box) => box.value);
    const all = [...picked.dataset.others.split(",").filter(Boolean), ...ids].join(",");
    const withPicks = (href) => {
      const url = new URL(href, location);
      url.searchParams.delete("tweet_ids");
      url.searchParams.delete("pick");
      if (all) url.searchParams.set("tweet_ids", all);
      return url.pathname + url.search;
    };
    history.replaceState(null, "", withPicks(location.href));
    const here = location.pathname;
    for (const link of document.querySelectorAll(`a[href^='${here}?']:not(#clear)`)) link.href = withPicks(link.href);
    for (const form of document.querySelectorAll(`form[action='${here}']`)) {
      if (form.contains(picked)) continue; // it sends the ticks themselves
      form.querySelectorAll("input[name=tweet_ids]").forEach((input) => input.remove());
      const input = Object.assign(document.createElement("input"), { type: "hidden", name: "tweet_ids", value: all });
      if (all) form.append(input);
    }
  };
  boxes.forEach((box) => box.addEventListener("change", () => { count(); keep(); }));
  // The form's first button is that of the search: Enter on a tick would search.
  boxes.forEach((box) => box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || compare.disabled) return;
    event.preventDefault();
    compare.click();
  }));
  addEventListener("pageshow", count); // after going back, the browser restores the ticks
}
