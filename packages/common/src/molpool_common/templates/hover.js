"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = { N: "#2b3fe0", O: "#d11", S: "#8a7a00", F: "#0a7f86", Cl: "#0a7f2e", Br: "#8b3a12", I: "#6b2fa0", P: "#b35a00", B: "#a5604f" };
  const stored = JSON.parse(document.getElementById("hover-rows").textContent);
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const numbers = text => new Float32Array(bytes(text).buffer);
  const lazy = make => { let found; return () => found ??= make(); };
  const molecules = lazy(() => {
    if (!stored.molecules) return null;
    const raw = bytes(stored.molecules.text), starts = [];
    for (let at = 0; at < raw.length; at += 2 + 3 * (raw[at] + raw[at + 1])) starts.push(at);
    return { raw, starts, labels: stored.molecules.labels };
  });
  const columns = Object.fromEntries(Object.entries(stored.columns).map(([name, text]) => [name, lazy(() => numbers(text))]));
  const tasks = stored.values.map(task => lazy(() => task.map(numbers)));

  const make = (parent, name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent.appendChild(element);
  };

  const drawing = row => {
    const known = molecules();
    const start = known && known.starts[row], n = known && known.raw[start];
    if (!n) return null;
    const { raw, labels } = known, bonds = raw[start + 1], first = start + 2 + 3 * n;
    const atoms = [...Array(n).keys()].map(a => {
      const at = start + 2 + 3 * a, text = labels[raw[at + 2]] ?? "";
      return { x: raw[at], y: raw[at + 1], text, back: text.startsWith("<") };
    });
    const lines = [...Array(bonds).keys()].map(b => {
      const at = first + 3 * b;
      return { a: atoms[raw[at]], b: atoms[raw[at + 1]], kind: raw[at + 2] };
    });
    const lengths = lines.map(l => Math.hypot(l.a.x - l.b.x, l.a.y - l.b.y)).sort((p, q) => p - q);
    const unit = lengths.length ? lengths[lengths.length >> 1] : 40;
    const left = Math.min(...atoms.map(a => a.x)), right = Math.max(...atoms.map(a => a.x));
    const top = Math.min(...atoms.map(a => a.y)), bottom = Math.max(...atoms.map(a => a.y));
    const width = Math.max(right - left + 2 * unit, 6.5 * unit), height = Math.max(bottom - top + 1.4 * unit, 4.6 * unit);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `${(left + right - width) / 2} ${(top + bottom - height) / 2} ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    const pen = { stroke: "#111", "stroke-width": 0.065 * unit, "stroke-linecap": "round" };
    for (const { a, b, kind } of lines) {
      const span = Math.hypot(b.x - a.x, b.y - a.y) || 1, ux = (b.x - a.x) / span, uy = (b.y - a.y) / span;
      const from = a.text ? 0.3 * unit : 0, to = span - (b.text ? 0.3 * unit : 0);
      const stroke = (side, inset, more) => make(svg, "line", {
        x1: a.x + ux * (from + inset) - uy * side, y1: a.y + uy * (from + inset) + ux * side,
        x2: a.x + ux * (to - inset) - uy * side, y2: a.y + uy * (to - inset) + ux * side, ...pen, ...more,
      });
      const gap = 0.15 * unit;
      if (kind === 1) { stroke(gap / 2, 0); stroke(-gap / 2, 0); }
      else if (kind === 2 || kind === 3) { stroke(0, 0); stroke(kind === 2 ? -gap : gap, 0.12 * unit); }
      else if (kind === 4) { stroke(0, 0); stroke(gap, 0); stroke(-gap, 0); }
      else if (kind === 5) {
        const w = 0.12 * unit, ex = a.x + ux * to, ey = a.y + uy * to;
        make(svg, "polygon", { points: `${a.x + ux * from},${a.y + uy * from} ${ex - uy * w},${ey + ux * w} ${ex + uy * w},${ey - ux * w}`, fill: "#111" });
      } else if (kind === 6) {
        for (let step = 0; step <= 6; step++) {
          const along = from + (to - from) * step / 6, w = 0.02 * unit + 0.1 * unit * step / 6;
          const x = a.x + ux * along, y = a.y + uy * along;
          make(svg, "line", { x1: x - uy * w, y1: y + ux * w, x2: x + uy * w, y2: y - ux * w, ...pen });
        }
      } else stroke(0, 0, kind === 7 ? { "stroke-dasharray": `${0.1 * unit} ${0.12 * unit}` } : {});
    }
    for (const { x, y, text, back } of atoms) {
      if (!text) continue;
      const symbol = (text.match(/[A-Z][a-z]?/g) ?? []).find(s => s !== "H") ?? "H";
      make(svg, "text", {
        x: x + (back ? 0.2 : -0.2) * unit, y, fill: COLOURS[symbol] ?? "#111", "font-size": 0.55 * unit,
        "text-anchor": back ? "end" : "start", "dominant-baseline": "central", "font-family": "Arial, Helvetica, sans-serif",
      }, back ? text.slice(1) : text);
    }
    return svg;
  };

  const shown = value => {
    if (!Number.isFinite(value)) return "\u2013";
    const size = Math.abs(value);
    return size && (size < 0.001 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(size < 1 ? 3 : 4)));
  };

  const card = document.createElement("div");
  card.className = "card";
  card.setAttribute("role", "status");
  card.hidden = true;
  document.body.append(card);
  const fill = (panel, row) => {
    const [truth, guess, low, high] = tasks[panel.task]();
    const facts = [["measured", shown(truth[row])], ["predicted", shown(guess[row])]];
    if (low && Number.isFinite(low[row])) facts.push([stored.interval, `${shown(low[row])} to ${shown(high[row])}`]);
    const name = document.createElement("strong"), list = document.createElement("dl");
    name.textContent = stored.ids[row];
    for (const [what, value] of facts) {
      list.append(Object.assign(document.createElement("dt"), { textContent: what }));
      list.append(Object.assign(document.createElement("dd"), { textContent: value }));
    }
    const picture = drawing(row);
    card.replaceChildren(...(picture ? [picture] : []), name, list);
  };
  const place = (x, y) => {
    card.hidden = false;
    const { width, height } = card.getBoundingClientRect(), room = document.documentElement.clientWidth;
    const right = x + 18 + width < room ? x + 18 : x - 18 - width;
    card.style.left = `${Math.max(4, Math.min(right, room - width - 4))}px`;
    card.style.top = `${Math.max(4, Math.min(y - height / 2, innerHeight - height - 4))}px`;
  };

  for (const figure of document.querySelectorAll("figure.hovers")) {
    const plot = figure.querySelector(".plot"), svg = plot.querySelector("svg");
    const panels = lazy(() => JSON.parse(figure.querySelector("script.points").textContent).map(panel => {
      const [left, top, right, bottom] = panel.box, [x0, x1] = panel.x_range, [y0, y1] = panel.y_range;
      const [truth, guess] = tasks[panel.task]();
      const along = { measured: () => truth, predicted: () => guess, error: () => truth.map((t, i) => guess[i] - t) };
      const xs = (along[panel.x] ?? columns[panel.x])(), ys = (along[panel.y] ?? columns[panel.y])();
      const rows = Uint32Array.from([...xs.keys()].filter(i => Number.isFinite(xs[i]) && Number.isFinite(ys[i]) && Number.isFinite(truth[i])));
      const px = Float32Array.from(rows, i => left + (xs[i] - x0) / (x1 - x0) * (right - left));
      const py = Float32Array.from(rows, i => bottom - (ys[i] - y0) / (y1 - y0) * (bottom - top));
      const order = [...rows.keys()].sort((p, q) => px[p] - px[q] || py[p] - py[q]);
      return { ...panel, rows, px, py, order };
    }));
    let mark, at = null, pinned = false;
    const hide = () => { card.hidden = true; mark?.remove(); mark = undefined; at = null; pinned = false; };
    const show = (panel, point) => {
      if (!at || at.panel !== panel || at.point !== point) {
        mark?.remove();
        mark = make(svg, "circle", { cx: panel.px[point], cy: panel.py[point], r: 4.5, fill: "none", stroke: "#d55e00", "stroke-width": 2 });
        fill(panel, panel.rows[point]);
        at = { panel, point };
      }
      const spot = new DOMPoint(panel.px[point], panel.py[point]).matrixTransform(svg.getScreenCTM());
      place(spot.x, spot.y);
    };
    const nearest = event => {
      const matrix = svg.getScreenCTM(), { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      const panel = panels().find(({ box: [l, t, r, b] }) => l <= x && x <= r && t <= y && y <= b);
      if (!panel) return null;
      let best = -1, least = (14 / matrix.a) ** 2;
      for (let i = 0; i < panel.px.length; i++) {
        const d = (panel.px[i] - x) ** 2 + (panel.py[i] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
      return best < 0 ? null : [panel, best];
    };
    const follow = event => {
      if (pinned) return;
      const found = nearest(event);
      if (found) show(...found); else hide();
    };
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerleave", () => { if (!pinned) hide(); });
    plot.addEventListener("pointerdown", event => { pinned = false; follow(event); pinned = at !== null; });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 25, PageUp: -25, Home: -Infinity, End: Infinity }[event.key];
      const turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") return hide();
      if (step === undefined && turn === undefined) return;
      event.preventDefault();
      const all = panels();
      let panel = at ? at.panel : all[0], place = at ? panel.order.indexOf(at.point) : -1;
      if (turn !== undefined && at) { panel = all[(all.indexOf(panel) + turn + all.length) % all.length]; place = 0; }
      else place = Math.max(0, Math.min(panel.order.length - 1, place + (step ?? 1)));
      pinned = true;
      show(panel, panel.order[place]);
    });
  }
})();
