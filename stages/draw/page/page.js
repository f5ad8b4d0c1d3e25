"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const fade = (color, part) => {
    const n = parseInt(color.slice(1), 16);
    return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${part})`;
  };
  const state = { axis: "x", log: true, hidden: new Set(), shot: {} };
  const drawn = new Set();

  // the plotting library is text until the first chart is needed, so that the page stands before it is parsed
  function plotly() {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  }

  function axis(extra) {
    return { color: css("--faint"), gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, fixedrange: !matchMedia("(hover: hover)").matches, automargin: true, tickfont: { size: 11 }, ...extra };
  }

  function frame(extra) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: matchMedia("(hover: hover)").matches ? "zoom" : false,
      margin: { l: 46, r: 10, t: 14, b: 36 }, font: { family: css("--sans"), size: 12, color: css("--soft") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink"), size: 12 } }, ...extra,
    };
  }

  function band(series, x, log) {
    const kept = x.map((_, i) => i).filter((i) => series.low[i] !== null && series.high[i] !== null && !(log && series.low[i] <= 0));
    if (!kept.length) return [];
    return [{
      x: [...kept.map((i) => x[i]), ...kept.slice().reverse().map((i) => x[i])],
      y: [...kept.map((i) => series.high[i]), ...kept.slice().reverse().map((i) => series.low[i])],
      fill: "toself", fillcolor: fade(css(`--${series.role}`), series.dash ? 0.1 : 0.16), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
      visible: state.hidden.has(series.name) ? "legendonly" : true,
    }];
  }

  function curve(series, x) {
    return {
      x, y: series.median, name: series.name, mode: x.length < 12 ? "lines+markers" : "lines", line: { color: css(`--${series.role}`), width: 1.8, dash: series.dash || "solid" }, marker: { size: 5 },
      visible: state.hidden.has(series.name) ? "legendonly" : true, hovertemplate: "%{y:.4~g}",
    };
  }

  function marks(chart) {
    const shapes = [], annotations = [];
    for (const mark of chart.marks || []) {
      const [from, to] = [mark.steps[0], mark.steps[mark.steps.length - 1]];
      shapes.push(from === to
        ? { type: "line", x0: from, x1: from, y0: 0, y1: 1, yref: "paper", line: { color: css("--faint"), width: 1, dash: "dash" } }
        : { type: "rect", x0: from, x1: to, y0: 0, y1: 1, yref: "paper", fillcolor: fade(css("--faint"), 0.12), line: { width: 0 }, layer: "below" });
      annotations.push({ x: (from + to) / 2, y: 1, yref: "paper", yanchor: "bottom", xanchor: from === to ? "right" : "center", text: mark.label, showarrow: false, font: { size: 10, color: css("--soft") } });
    }
    if (chart.reference) shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.reference.value, y1: chart.reference.value, line: { color: css("--faint"), width: 1.2, dash: "dot" } });
    return { shapes, annotations };
  }

  // 1, 2, 5 times powers of ten; powers alone over many decades; even steps within less than half a decade
  function logarithmic(values) {
    if (!values.length) return { type: "log" };
    const low = Math.min(...values), high = Math.max(...values), decades = Math.log10(high / low) || 0.1, room = 0.05 * decades;
    let ticks = [];
    if (decades < 0.5) {
      const raw = (high - low) / 4 || high / 4, unit = 10 ** Math.floor(Math.log10(raw)), step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw);
      for (let i = Math.ceil(low / step); i * step <= high * 1.001; i++) ticks.push(Number((i * step).toPrecision(6)));
    } else {
      const stride = Math.ceil(decades / 6), each = decades > 2.2 ? [1] : [1, 2, 5];
      for (let d = Math.floor(Math.log10(low)); d <= Math.log10(high); d += 1) if (each.length > 1 || d % stride === 0) ticks.push(...each.map((m) => Number(`${m}e${d}`)));
    }
    return { type: "log", range: [Math.log10(low) - room, Math.log10(high) + room], tickmode: "array", tickvals: ticks, ticktext: ticks.map(power) };
  }
  const power = (v) => (v !== 0 && (v < 1e-3 || v >= 1e5) ? v.toExponential().replace("e+", "e").replace(/^1e(.*)$/, "10<sup>$1</sup>").replace("-", "−") : String(v));

  // logarithmic to both sides of zero, linear below `unit`
  const folded = (unit) => (v) => (v === null ? null : Math.sign(v) * Math.log10(1 + Math.abs(v) / unit));
  function symmetric(values, unit) {
    const fold = folded(unit), ends = [Math.min(0, ...values), Math.max(0, ...values)].map(fold), span = ends[1] - ends[0] || 1;
    const stride = Math.ceil(span / 5), base = Math.round(Math.log10(unit)), ticks = [0];
    for (let d = stride; d <= Math.max(-ends[0], ends[1]); d += stride) for (const sign of [-1, 1]) {
      const tick = sign * Number(`1e${base + d}`);
      if (fold(tick) >= ends[0] && fold(tick) <= ends[1]) ticks.push(tick);
    }
    return { range: [ends[0] - 0.05 * span, ends[1] + 0.05 * span], tickmode: "array", tickvals: ticks.map(fold), ticktext: ticks.map((v) => (v < 0 ? `−${power(-v)}` : power(v))) };
  }

  const across = (chart) => ({ text: chart.across || data.words["chart.step"], font: { size: 10, color: css("--faint") }, standoff: 3 });

  function lines(chart, overview) {
    const compared = chart.reference !== undefined || overview;
    const log = chart.log && (!compared || state.log);
    const traces = [];
    for (const series of chart.series) {
      const x = overview ? series[state.axis] : series.x;
      const own = [...(series.low ? band(series, x, log && !series.right) : []), curve(series, x)];
      if (series.right) own.forEach((trace) => Object.assign(trace, { yaxis: "y2", line: { ...trace.line, dash: "dot" } }));
      traces.push(...own);
    }
    const second = chart.series.some((series) => series.right);
    const compute = overview && state.axis === "flops";
    const shown = traces.filter((trace) => trace.visible !== "legendonly" && !trace.yaxis);
    const values = shown.flatMap((trace) => trace.y).concat(chart.reference ? [chart.reference.value] : []).filter((v) => v !== null && (!log || v > 0));
    if (chart.linear_below) traces.forEach((trace) => Object.assign(trace, { customdata: trace.y, y: trace.y.map(folded(chart.linear_below)), hovertemplate: "%{customdata:.4~g}" }));
    const y = axis(chart.linear_below ? { ...symmetric(values, chart.linear_below), zeroline: true, zerolinecolor: css("--faint"), zerolinewidth: 1 } : log ? logarithmic(values) : { nticks: 6, ...(chart.zero ? { zeroline: true, zerolinecolor: css("--faint"), zerolinewidth: 1 } : {}), ...(chart.share ? { range: [-0.03, 1.03] } : {}) });
    const ends = [Math.min(...traces.flatMap((trace) => trace.x)), Math.max(...traces.flatMap((trace) => trace.x))], room = 0.02 * (ends[1] - ends[0] || 1);
    const x = axis({ range: [ends[0] - room, ends[1] + room], nticks: overview ? 9 : 6, exponentformat: "SI", ticksuffix: compute ? "FLOP" : "", hoverformat: compute ? ".3s" : chart.free ? ".3~g" : "d", showgrid: false, title: compute ? undefined : across(chart) });
    const y2 = second ? { yaxis2: axis({ overlaying: "y", side: "right", range: [-0.03, 1.03], tickmode: "array", tickvals: [0, 0.5, 1], showgrid: false }), margin: { l: 46, r: 34, t: 14, b: 36 } } : {};
    return [traces, frame({ xaxis: x, yaxis: y, hovermode: "x unified", ...y2, ...marks(chart) })];
  }

  function points(chart) {
    const unit = chart.linear_below, place = unit ? folded(unit) : (v) => v;
    const traces = chart.series.map((series) => ({ x: series.x.map(place), y: series.median.map(place), customdata: series.x.map((v, i) => [v, series.median[i]]), name: series.name, mode: "markers", marker: { size: 6, color: fade(css(`--${series.role}`), 0.75) }, hovertemplate: "%{customdata[0]:.3~g} %{customdata[1]:+.3~g}i" }));
    const line = { zeroline: true, zerolinecolor: css("--faint"), zerolinewidth: 1 };
    const side = (key, more) => axis({ ...line, ...(unit ? symmetric(chart.series.flatMap((series) => series[key]), unit) : { nticks: 5, exponentformat: "power" }), ...more });
    // inside |1 - z| = 1 a step of that size contracts
    const shapes = chart.disc ? [{ type: "circle", x0: 0, x1: 2, y0: -1, y1: 1, line: { color: css("--faint"), width: 1, dash: "dot" } }] : [];
    const titled = { title: across(chart) }, round = chart.disc ? { scaleanchor: "x", constrain: "domain" } : {};
    return [traces, frame({ xaxis: side("x", { ...titled, ...(chart.disc ? { constrain: "domain" } : {}) }), yaxis: side("median", round), hovermode: "closest", shapes })];
  }

  function heat(chart) {
    const z = chart.z.map((row) => row.map((v) => (v > 0 ? Math.log10(v) : null)));
    const text = chart.z.map((row) => row.map((v) => (v === null ? "" : v.toPrecision(3))));
    const scale = [0, 1, 2, 3].map((i) => [i / 3, css(`--heat-${i}`)]);
    return [
      [{ type: "heatmap", x: chart.x, y: chart.y, z, text, colorscale: scale, hovertemplate: "%{y}<br>%{x}: %{text}<extra></extra>", colorbar: { thickness: 8, outlinewidth: 0, len: 1, nticks: 4, tickfont: { size: 9, color: css("--faint") } } }],
      frame({ xaxis: axis({ nticks: 6, showgrid: false, title: across(chart) }), yaxis: axis({ type: "category", autorange: "reversed", showgrid: false, tickfont: { size: 10 }, dtick: 1 }), margin: { l: 20, r: 10, t: 8, b: 36 } }),
    ];
  }

  // D over the plane: answers as colour, the push on a point as an arrow, real and generated points
  const numbers = (text) => text.split(" ").map(Number);
  const mixed = (one, other, part) => {
    const [a, b] = [one, other].map((c) => [16, 8, 0].map((bits) => (parseInt(c.slice(1), 16) >> bits) & 255));
    return `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * part)).join(",")})`;
  };
  function arrows(shot, x, y, every) {
    const [across, up] = shot.arrows.map((rows) => rows.map(numbers)), cell = every * Math.min(x[1] - x[0], y[1] - y[0]);
    const line = { x: [], y: [] }, tip = { x: [], y: [], angle: [] };
    across.forEach((row, i) => row.forEach((u, j) => {
      const v = up[i][j], size = Math.hypot(u, v), long = 0.92 * cell * Math.sqrt(size / (shot.longest || 1));
      if (long < 0.06 * cell) return;
      const from = [x[j * every], y[i * every]], to = [from[0] + (long * u) / size, from[1] + (long * v) / size];
      line.x.push(from[0], to[0], null);
      line.y.push(from[1], to[1], null);
      tip.x.push(to[0]);
      tip.y.push(to[1]);
      tip.angle.push((Math.atan2(u, v) * 180) / Math.PI);
    }));
    const color = css("--soft"), quiet = { hoverinfo: "skip" };
    return [{ ...line, ...quiet, mode: "lines", line: { color, width: 1 } }, { x: tip.x, y: tip.y, ...quiet, mode: "markers", marker: { symbol: "triangle-up", size: 5, color, angle: tip.angle } }];
  }
  function plane(chart, name) {
    const x = numbers(chart.x), y = numbers(chart.y), at = state.shot[name], shot = chart.snapshots[at === undefined ? chart.snapshots.length - 1 : at];
    const dots = (text, color, label) => ({ x: numbers(text[0]), y: numbers(text[1]), mode: "markers", marker: { size: 4, color, line: { width: 0.5, color: css("--paper") } }, name: label, hoverinfo: "skip" });
    const [left, right] = [x[0], x[x.length - 1]], [low, high] = [y[0], y[y.length - 1]], traces = [];
    if (shot.reason === null) {
      const z = shot.logits.map(numbers), far = Math.max(...z.flat().map((v) => Math.abs(v - shot.centre))) || 1, paper = css("--card");
      const scale = [[0, mixed(paper, css("--generator"), 0.62)], [0.5, paper], [1, mixed(paper, css("--discriminator"), 0.62)]];
      traces.push({ type: "contour", x, y, z, zmin: shot.centre - far, zmax: shot.centre + far, colorscale: scale, ncontours: 24, line: { width: 0 }, contours: { coloring: "fill" }, hovertemplate: "D %{z:.3~g}<extra></extra>", colorbar: { thickness: 8, outlinewidth: 0, nticks: 5, len: 0.9, tickfont: { size: 10, color: css("--faint") } } });
      traces.push({ type: "contour", x, y, z, contours: { type: "levels", start: shot.centre, end: shot.centre, size: 1, coloring: "none" }, line: { width: 1.6, color: css("--ink") }, showscale: false, hoverinfo: "skip" });
      traces.push(...arrows(shot, x, y, chart.arrows_every));
    }
    traces.push(dots(chart.real, css("--faint"), "real"));
    if (shot.reason === null) traces.push(dots(shot.generated, css("--ink"), "generated"));
    const side = (range, more) => axis({ range, showgrid: false, nticks: 6, constrain: "domain", ...more });
    return [traces, frame({ xaxis: side([left, right]), yaxis: side([low, high], { scaleanchor: "x" }), hovermode: "closest" })];
  }

  function draw(element) {
    const key = element.dataset.chart, chart = data.charts[key];
    const kinds = { heat, points, field: () => plane(chart, element.dataset.plane), lines: () => lines(chart, key === "overview") };
    const [traces, layout] = kinds[chart.kind](chart);
    plotly().react(element, traces, layout, { displayModeBar: false, responsive: true, displaylogo: false });
    drawn.add(element);
  }

  // one chart a frame, nearest first, so that scrolling stays smooth
  const waiting = [];
  let busy = false;
  function next() {
    const element = waiting.shift();
    busy = Boolean(element);
    if (element) {
      if (!drawn.has(element)) draw(element);
      requestAnimationFrame(() => setTimeout(next, 0));
    }
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      waiting.push(entry.target);
    }
    if (!busy) next();
  }, { rootMargin: "400px" });
  requestAnimationFrame(() => setTimeout(() => all("[data-chart]").forEach((element) => seen.observe(element)), 0));

  const redraw = () => drawn.forEach(draw), opened = [];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    all("details:not([open])").forEach((details) => { details.open = true; opened.push(details); });
    drawn.forEach((element) => plotly().purge(element)); // a drawn chart keeps its width
    all("[data-chart]").forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    opened.splice(0).forEach((details) => { details.open = false; });
    redraw();
    drawn.forEach((element) => plotly().Plots.resize(element));
  });

  // controls of the trajectories
  all('input[name="axis"]').forEach((input) => input.addEventListener("change", () => {
    state.axis = input.value;
    draw(document.querySelector('[data-chart="overview"]'));
  }));
  document.getElementById("log").addEventListener("change", (event) => {
    state.log = event.target.checked;
    redraw();
  });
  const chips = all("[data-trace]");
  function show(names, on) {
    for (const chip of chips.filter((c) => names.includes(c.dataset.trace))) {
      chip.setAttribute("aria-pressed", String(on));
      if (on) state.hidden.delete(chip.dataset.trace); else state.hidden.add(chip.dataset.trace);
    }
    draw(document.querySelector('[data-chart="overview"]'));
  }
  chips.forEach((chip) => chip.addEventListener("click", () => show([chip.dataset.trace], chip.getAttribute("aria-pressed") !== "true")));
  all("[data-all]").forEach((button) => button.addEventListener("click", () => show(chips.map((c) => c.dataset.trace), button.dataset.all === "true")));

  // samples over training: "*" moves every variant together
  function place(name, index) {
    const at = Math.min(index, data.samples[name].length - 1), sample = data.samples[name][at];
    for (const image of all(`[data-sample="${name}"], [data-wall="${name}"]`)) {
      image.src = sample.src;
      image.alt = data.alts[name][at];
    }
    return sample.step;
  }
  function shoot(name, step) {
    const element = document.querySelector(`[data-plane="${name}"]`);
    if (!element) return;
    state.shot[name] = data.charts[element.dataset.chart].snapshots.findIndex((shot) => shot.step === step);
    all(`[data-told="${name}"]`).forEach((told, i) => { told.hidden = i !== state.shot[name]; });
    if (drawn.has(element)) draw(element);
  }
  function slide(input) {
    const index = Number(input.value), names = input.dataset.slide === "*" ? Object.keys(data.samples) : [input.dataset.slide];
    let step = 0;
    for (const name of names.filter((n) => data.samples[n].length)) {
      step = place(name, index);
      shoot(name, step);
      for (const other of all(`[data-slide="${name}"]`)) label(other, Math.min(index, Number(other.max)), step);
    }
    label(input, index, step);
  }
  function label(input, index, step) {
    input.value = index;
    input.setAttribute("aria-valuetext", String(step));
    input.parentElement.querySelector("output").textContent = step;
  }
  all("[data-wall]").forEach((image) => {
    const samples = data.samples[image.dataset.wall];
    image.src = samples[samples.length - 1].src;
  });
  all("[data-slide]").forEach((input) => input.addEventListener("input", () => slide(input)));
  all("[data-play]").forEach((button) => {
    let timer = null;
    const input = document.querySelector(`[data-slide="${button.dataset.play}"]`);
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = data.words["samples.play"];
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (input.value === input.max) input.value = -1;
      button.textContent = data.words["samples.pause"];
      const step = () => {
        input.value = Number(input.value) + 1;
        slide(input);
        if (input.value === input.max) stop();
      };
      timer = setInterval(step, 700);
      if (input.value === "0" && input.dataset.fresh !== "0") slide(input);
    });
  });

  // commands to copy
  all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (navigator.clipboard && isSecureContext) await navigator.clipboard.writeText(code.textContent).catch(() => document.execCommand("copy"));
    else document.execCommand("copy");
    button.textContent = data.words["variant.copied"];
    setTimeout(() => { button.textContent = data.words["variant.copy"]; }, 1500);
  }));

  // where the reader is
  const links = new Map(all(".sections a").map((link) => [link.getAttribute("href").slice(1), link]));
  const here = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      links.forEach((link) => link.classList.remove("here"));
      links.get(entry.target.id).classList.add("here");
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  links.forEach((_, id) => here.observe(document.getElementById(id)));
})();
