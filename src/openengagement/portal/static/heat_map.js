// Reads heat maps: the hour under the pointer, or the one that the arrow keys choose, in a line below.

for (const map of document.querySelectorAll(".heat-map")) readHeatMap(map, map.querySelector("table"));

function readHeatMap(map, table) {
  const hours = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.dataset.hour);
  const rows = [...table.tBodies[0].rows];
  const line = document.createElement("p");
  line.className = "hint";
  line.setAttribute("role", "status");
  map.after(line);
  let shown = null; // day and hour
  hide();

  function hide() {
    mark(false);
    shown = null;
    line.textContent = gettext("Point at an hour to read it, or use the arrow keys.");
  }

  function mark(on) {
    if (shown) rows[shown[0]].cells[shown[1] + 1].classList.toggle("at", on);
  }

  function show(day, hour) {
    mark(false);
    shown = [Math.max(0, Math.min(rows.length - 1, day)), Math.max(0, Math.min(hours.length - 1, hour))];
    mark(true);
    const [name, ...cells] = rows[shown[0]].cells;
    const value = cells[shown[1]].textContent;
    line.textContent = gettext("%(day)s %(hour)s: %(value)s engagements", { day: name.textContent, hour: hours[shown[1]], value });
  }

  table.addEventListener("pointerover", ({ target }) => {
    const cell = target.closest("td");
    if (cell) show(cell.parentElement.sectionRowIndex, cell.cellIndex - 1);
  });
  map.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType !== "touch") hide(); });
  map.addEventListener("blur", hide);
  map.addEventListener("keydown", (event) => {
    const [day, hour] = shown ?? [0, -1];
    const moves = {
      ArrowLeft: [day, hour - 1],
      ArrowRight: [day, hour + 1],
      ArrowUp: [day - 1, Math.max(0, hour)],
      ArrowDown: [shown ? day + 1 : 0, Math.max(0, hour)],
      Home: [day, 0],
      End: [day, hours.length - 1],
    };
    if (event.key === "Escape") hide();
    else if (event.key in moves) show(...moves[event.key]);
    else return;
    event.preventDefault();
  });
}
