"use strict";
(() => {
  const data = JSON.parse(document.getElementById("attention-data").textContent);
  const at = id => document.getElementById(id);
  const minus = text => text.replace("-", "−");
  const fixed = (x, digits) => (x === null || x === undefined ? "–" : minus(x.toFixed(digits)));
  const signed = x => (x === null || x === undefined ? "–" : (x >= 0 ? "+" : "") + fixed(x, 3));
  const make = (tag, className = "", text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  let molecule = data.molecules[0], task = 0, conformer = 0, viewer = null, models = [];

  function startViewer() {
    try {
      viewer = $3Dmol.createViewer(at("viewer"), { antialias: true });
    } catch (error) {
      viewer = null;
    }
    if (!viewer) {
      at("viewer").textContent = "";
      at("viewer").append(make("p", "", "This browser offers no WebGL to draw conformers with. The SD file of the run holds them."));
      return;
    }
    // The wheel scrolls the page, as elsewhere, and zooms with Ctrl.
    const wheel = event => { if (!event.ctrlKey) event.stopPropagation(); };
    at("viewer").addEventListener("wheel", wheel, { capture: true, passive: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  }

  function paint() {
    if (!viewer) return;
    viewer.setBackgroundColor(getComputedStyle(at("viewer")).backgroundColor);
    models.forEach((model, i) => {
      model.setStyle({}, {});
      if (i !== conformer && !at("others").checked) return;
      const opacity = i === conformer ? 1 : 0.5;
      model.setStyle({ not: { elem: "H" } }, { stick: { radius: i === conformer ? 0.14 : 0.05, colorscheme: "Jmol", opacity } });
      if (at("hydrogens").checked) model.setStyle({ elem: "H" }, { stick: { radius: 0.05, color: "#8d99a6", opacity } });
    });
    viewer.render();
  }

  function load() {
    conformer = ranked()[0];
    if (viewer) {
      viewer.removeAllModels();
      models = molecule.conformers.map(c => {
        const model = viewer.addModel();
        const bonds = molecule.elements.map(() => [[], []]);
        for (const [a, b, order] of molecule.bonds) {
          bonds[a][0].push(b); bonds[a][1].push(order);
          bonds[b][0].push(a); bonds[b][1].push(order);
        }
        model.addAtoms(molecule.elements.map((elem, i) => ({
          elem, serial: i, bonds: bonds[i][0], bondOrder: bonds[i][1],
          x: c.xyz[3 * i], y: c.xyz[3 * i + 1], z: c.xyz[3 * i + 2],
        })));
        return model;
      });
      viewer.zoomTo();
    }
    list();
  }

  const ranked = () => molecule.conformers.map((_, i) => i).sort(
    (a, b) => molecule.conformers[a].rank[task] - molecule.conformers[b].rank[task]);

  function words(c) {
    const parts = [`attention ${fixed(c.attention[task], 3)}`];
    if (data.effects) parts.push(`effect ${signed(c.effect[task])}`);
    if (c.energy !== null) parts.push(`${fixed(c.energy, 1)} kcal/mol above the lowest`);
    return parts.join(", ");
  }

  function row(i, largest) {
    const c = molecule.conformers[i], label = make("label", "row"), input = make("input");
    Object.assign(input, { type: "radio", name: "conformer", checked: i === conformer });
    input.setAttribute("aria-label", `Conformer ${c.id}: ${words(c)}`);
    input.addEventListener("change", () => { conformer = i; show(); });
    const bar = make("span", "bar"), track = make("span", "track"), fill = make("span", "fill"), even = make("span", "even");
    fill.style.width = `${100 * c.attention[task]}%`;
    even.style.left = `calc(${100 / molecule.n}% - 1px)`;
    track.append(fill, even);
    bar.append(track, make("span", "number", fixed(c.attention[task], 3)));
    const effect = make("span", "effect"), both = make("span", "track"), value = c.effect ? c.effect[task] : null;
    if (value !== null) {
      const share = largest > 0 ? 50 * Math.abs(value) / largest : 0;
      const part = make("span", value < 0 ? "fill minus" : "fill");
      part.style.left = `${value < 0 ? 50 - share : 50}%`;
      part.style.width = `${share}%`;
      both.append(part);
    }
    const centre = make("span", "even");
    centre.style.left = "calc(50% - 1px)";
    both.append(centre);
    effect.append(both, make("span", "number", signed(value)));
    label.append(input, make("span", "name", c.id), bar, effect, make("span", "number energy", fixed(c.energy, 1)));
    return label;
  }

  function list() {
    for (const old of at("conformers").querySelectorAll(".row")) old.remove();
    const all = molecule.conformers.map(c => (c.effect ? Math.abs(c.effect[task] ?? 0) : 0));
    at("conformers").append(...ranked().map(i => row(i, Math.max(...all))));
    const label = molecule.labels && molecule.labels[task] !== null ? `, label ${minus(String(molecule.labels[task]))}` : "";
    at("about").textContent = `${data.tasks[task]}: prediction ${fixed(molecule.predictions[task], 3)}${label}. ${molecule.n} conformer${molecule.n === 1 ? "" : "s"}. ${molecule.smiles}`;
    const left = molecule.n - molecule.conformers.length;
    const sum = molecule.conformers.reduce((s, c) => s + c.attention[task], 0);
    at("rest").textContent = left ? `${left} more, together ${fixed(Math.max(0, 1 - sum), 3)} of attention.` : "";
    show();
  }

  function show() {
    const c = molecule.conformers[conformer];
    const text = `Conformer ${c.id} of ${molecule.id}, ${c.rank[task]} of ${molecule.n} by attention for ${data.tasks[task]}: ${words(c)}.`;
    at("shown").textContent = text;
    at("viewer").setAttribute("aria-label", text);
    paint();
  }

  function choose(i) {
    at("molecule").selectedIndex = i;
    molecule = data.molecules[i];
    at("previous").disabled = i === 0;
    at("next").disabled = i === data.molecules.length - 1;
    load();
  }

  for (const m of data.molecules) at("molecule").append(make("option", "", m.id));
  data.tasks.forEach((name, i) => {
    const label = make("label", "task"), input = make("input");
    Object.assign(input, { type: "radio", name: "task", checked: i === 0 });
    input.addEventListener("change", () => { task = i; list(); });
    label.append(input, make("span", "", name));
    at("tasks").append(label);
  });
  at("molecule").addEventListener("change", () => choose(at("molecule").selectedIndex));
  at("previous").addEventListener("click", () => choose(at("molecule").selectedIndex - 1));
  at("next").addEventListener("click", () => choose(at("molecule").selectedIndex + 1));
  for (const box of ["hydrogens", "others"]) at(box).addEventListener("change", paint);
  for (const button of document.querySelectorAll("[data-turn], [data-zoom], #reset")) {
    button.addEventListener("click", () => {
      if (!viewer) return;
      const [angle, axis] = (button.dataset.turn ?? "").split(",");
      if (axis) viewer.rotate(Number(angle), axis);
      else if (button.dataset.zoom) viewer.zoom(Number(button.dataset.zoom));
      else { viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]); viewer.zoomTo(); }
      viewer.render();
    });
  }
  at("attention").hidden = false;
  at("attention").classList.toggle("plain", !data.effects);
  startViewer();
  choose(0);
})();
