// Zooms into the maps and filters the table. Without it, all is there to be read.
for (const pane of document.querySelectorAll(".pane")) {
  const map = pane.querySelector(".map");
  const nav = pane.querySelector("nav");
  const whole = nav.firstElementChild.textContent;
  const way = () => [...map.querySelectorAll(".open")];

  const open = (chain) => {
    way().forEach((node) => node.classList.remove("open"));
    chain.forEach((node) => node.classList.add("open"));
    nav.replaceChildren(...[null, ...chain].map((node, depth) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = node ? node.dataset.n : whole;
      button.onclick = () => open(chain.slice(0, depth));
      return button;
    }));
    const level = chain.length ? chain.at(-1) : map;
    for (const node of map.querySelectorAll("[tabindex]")) node.removeAttribute("tabindex");
    for (const node of level.querySelectorAll(":scope > .k > .n")) {
      if (node.querySelector(":scope > .k")) node.tabIndex = 0;
    }
  };
  // The node at this level that the event is in: one step down at a time.
  const into = (target) => {
    const chain = way();
    const level = chain.length ? chain.at(-1) : map;
    let node = target.closest(".n");
    while (node && node.parentElement.parentElement !== level) node = node.parentElement.closest(".n");
    if (node && node.querySelector(":scope > .k")) open([...chain, node]);
  };
  map.addEventListener("click", (event) => into(event.target));
  pane.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches(".n")) into(event.target);
    if (event.key === "Escape") open(way().slice(0, -1));
  });
  open([]);
}

const filter = document.getElementById("filter");
const rows = [...document.querySelectorAll("#packages tbody tr")];
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    if (!row.hidden) shown += 1;
  }
  document.getElementById("count").value = wanted ? `${shown} of ${rows.length}` : "";
});
