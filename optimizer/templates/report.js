"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  // ---- tooltips: <title> of drawings and data-tip of bars, on hover, focus and tap ----
  const tooltip = document.getElementById("tooltip");
  const tipOf = (target) => {
    const element = target instanceof Element ? target.closest("[data-tip], .pt, .box, .wire, .toggle") : null;
    if (!element) return null;
    const title = element.querySelector(":scope > title");
    if (title) {
      // Ours replaces the browser's own tooltip; assistive technology keeps the words.
      element.dataset.tip = title.textContent;
      if (!element.hasAttribute("aria-label")) element.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    return element.dataset.tip ? element : null;
  };
  const hide = () => { tooltip.hidden = true; };
  const show = (element, x, y) => {
    tooltip.textContent = element.dataset.tip;
    tooltip.hidden = false;
    const box = tooltip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8);
    const below = y + 18 + box.height < innerHeight;
    tooltip.style.left = `${Math.max(8, left)}px`;
    tooltip.style.top = `${below ? y + 18 : Math.max(8, y - box.height - 12)}px`;
  };
  const fromPointer = (event) => {
    const element = tipOf(event.target);
    if (element) show(element, event.clientX, event.clientY); else hide();
  };
  document.addEventListener("pointerover", fromPointer);
  document.addEventListener("click", fromPointer);
  document.addEventListener("focusin", (event) => {
    const element = tipOf(event.target);
    if (!element || !element.matches(":focus-visible")) return;
    const box = element.getBoundingClientRect();
    show(element, box.left + box.width / 2, box.bottom - 10);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // ---- the graph: the same stacking rule as report_stack.py ----
  const svg = document.getElementById("graph");
  const model = JSON.parse(document.getElementById("graph-model").textContent);
  const GAP_X = 36, GAP_Y = 34, LABEL = 16, CHARACTER = 6.6, LANE_FIRST = 22, LANE = 14, MARGIN = 6;
  const wirePaths = svg.querySelectorAll("#wires > path"), wireLabels = svg.querySelectorAll("#wire-labels > text");
  const fixed = (value) => value.toFixed(1);

  const stack = (faces) => {
    const { rows, wires } = model;
    const rowOf = [];
    rows.forEach((row, r) => row.forEach((k) => { rowOf[k] = r; }));
    const widths = rows.map((row) => row.reduce((sum, k) => sum + faces[k][0], 0) + GAP_X * (row.length - 1));
    const widest = Math.max(...widths);
    const lanes = wires.map((_, i) => i).filter((i) => rowOf[wires[i][1]] - rowOf[wires[i][0]] !== 1);
    const places = [], floors = [], paths = [], labels = [];
    let y = MARGIN;
    rows.forEach((row, r) => {
      if (r) y += GAP_Y + LABEL * Math.max(0, ...row.map((k) => wires.filter((w) => w[1] === k).length));
      let x = MARGIN + (widest - widths[r]) / 2;
      row.forEach((k) => { places[k] = [x, y]; x += faces[k][0] + GAP_X; });
      y += Math.max(...row.map((k) => faces[k][1]));
      floors.push(y);
    });
    const outs = faces.map(() => 0), ins = faces.map(() => 0);
    wires.forEach(([a, b], i) => {
      const x1 = places[a][0] + faces[a][3][outs[a]], y1 = places[a][1] + faces[a][1];
      const x2 = places[b][0] + faces[b][2][ins[b]], y2 = places[b][1], floor = floors[rowOf[a]];
      const start = `M${fixed(x1)} ${fixed(y1)}V${fixed(floor)}`;
      if (lanes.includes(i)) {
        const ceiling = floors[Math.max(0, rowOf[b] - 1)];
        const lane = fixed(MARGIN + widest + LANE_FIRST + LANE * lanes.indexOf(i));
        paths.push(`${start}C${fixed(x1)} ${fixed(floor + 20)} ${lane} ${fixed(floor)} ${lane} ${fixed(floor + 24)}` +
          `V${fixed(ceiling)}C${lane} ${fixed(ceiling + 14)} ${fixed(x2)} ${fixed(ceiling + 2)} ${fixed(x2)} ${fixed(ceiling + 22)}` +
          `V${fixed(y2)}`);
      } else {
        const middle = fixed((floor + y2) / 2);
        paths.push(`${start}C${fixed(x1)} ${middle} ${fixed(x2)} ${middle} ${fixed(x2)} ${fixed(y2)}`);
      }
      labels.push([x2 + 9, y2 - 14 - LABEL * ins[b]]);
      outs[a] += 1;
      ins[b] += 1;
    });
    const right = widest + 2 * MARGIN + (lanes.length ? LANE_FIRST + LANE * lanes.length : 0);
    const ends = labels.map(([x], i) => x + CHARACTER * wireLabels[i].textContent.length);
    return { width: Math.max(right, ...ends), height: y + MARGIN, places, paths, labels };
  };

  const draw = () => {
    const stacked = stack(model.blocks.map((block, k) => block[model.states[k]]));
    svg.setAttribute("width", Math.round(stacked.width));
    svg.setAttribute("height", Math.round(stacked.height));
    svg.setAttribute("viewBox", `0 0 ${fixed(stacked.width)} ${fixed(stacked.height)}`);
    model.blocks.forEach((_, k) => {
      const block = document.getElementById(`block${k}`), state = model.states[k];
      const [x, y] = stacked.places[k];
      block.setAttribute("transform", `translate(${fixed(x)} ${fixed(y)})`);
      block.querySelectorAll(":scope > [data-face]").forEach((face) => {
        if (face.dataset.face === state) face.removeAttribute("display"); else face.setAttribute("display", "none");
      });
      const toggle = block.querySelector(".toggle"), detail = block.querySelector(".detail");
      if (toggle) toggle.setAttribute("aria-expanded", String(state !== "closed"));
      if (detail) {
        if (state === "closed") detail.setAttribute("display", "none"); else detail.removeAttribute("display");
        detail.querySelector("text").textContent = state === "operators" ? "in blocks" : "operators";
      }
    });
    wirePaths.forEach((path, i) => path.setAttribute("d", stacked.paths[i]));
    wireLabels.forEach((label, i) => {
      label.setAttribute("x", fixed(stacked.labels[i][0]));
      label.setAttribute("y", fixed(stacked.labels[i][1]));
    });
  };
  const best = (k, wanted) => [wanted, "operators", "closed"].find((name) => name in model.blocks[k]);
  const opened = model.blocks.map((_, k) => best(k, "blocks"));
  const act = (element) => {
    const k = Number(element.dataset.block);
    if (element.classList.contains("detail")) opened[k] = model.states[k] === "operators" ? "blocks" : "operators";
    else if (model.states[k] !== "closed") opened[k] = model.states[k];
    model.states[k] = element.classList.contains("toggle") && model.states[k] !== "closed" ? "closed" : opened[k];
    hide();
    draw();
  };
  svg.addEventListener("click", (event) => {
    const element = event.target.closest("[data-block]");
    if (element) act(element);
  });
  svg.addEventListener("keydown", (event) => {
    const element = event.target.closest("[data-block]");
    if (!element || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    act(element);
  });
  document.querySelectorAll("[data-all]").forEach((button) => button.addEventListener("click", () => {
    model.states.forEach((_, k) => { model.states[k] = best(k, button.dataset.all); });
    draw();
  }));
})();
