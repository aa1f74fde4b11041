// What a page can do where scripts run: tables that sort, filter and copy, charts one can point at, and the way from a
// number to the cells behind it. Without scripts, and in print, the page shows the same numbers and the static figures.
// Texts of a study come as JSON and reach the page as text alone.
"use strict";

const PAGED = 50; // rows from which a table has pages
const PLAIN = 12; // rows up to which it needs no search
const LISTED = 40; // values up to which a column has a list to choose from
const page = document.documentElement;
page.classList.add("scripted");

const number = (text) => parseFloat(text.replaceAll("−", "-").replaceAll(",", ""));
// What a column is sorted by: its numbers, nothing below all of them; texts with the numbers in them by their size.
const sortable = (text, numeric) =>
  !numeric ? text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(9, "0")) : Number.isNaN(number(text)) ? -1e300 : number(text);
const plain = (cell) => (Array.isArray(cell) ? cell[0] : cell);
const made = (tag, text = "", attributes = {}) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(text);
  return element;
};
const markup = (cell) => {
  const box = made("td", plain(cell));
  if (Array.isArray(cell) && cell[1]) box.append(" ", made("small", cell[1]));
  if (Array.isArray(cell) && cell[4]) {
    const more = made("details", made("summary", "the last lines of its log"));
    more.append(made("pre", cell[4]));
    box.append(more);
  }
  return box.innerHTML;
};
// What is written in a cell, which DataTables hands over as markup, or which came as JSON.
const written = (cell) =>
  Array.isArray(cell) ? cell[0] : /[<&]/.test(cell) ? new DOMParser().parseFromString(cell, "text/html").body.textContent : String(cell);
const stored = (box) => {
  const data = box.querySelector("script");
  return data && JSON.parse(data.textContent);
};
let choices = 0;
const chooser = (name, values, all, changed) => {
  const select = made("select", "", { id: `choice-${choices++}` });
  select.dataset.column = name;
  if (all) select.append(new Option(all, ""));
  select.append(...values.map((value) => new Option(value === "" ? "–" : value, value)));
  select.addEventListener("change", () => changed(select.value));
  const both = made("span", made("label", name, { htmlFor: select.id }), { className: "choice" });
  both.append(select);
  return both;
};

// ---- Tables

const tables = new Map(); // the box of a table -> its DataTable

function enhance(box) {
  if (tables.has(box)) return tables.get(box);
  const table = box.querySelector("table");
  const rows = stored(box);
  const heads = [...table.tHead.rows[0].cells];
  const numeric = heads.map((head) => head.classList.contains("number"));
  if (!rows)
    for (const row of table.tBodies[0].rows)
      for (const [i, cell] of [...row.cells].entries()) cell.dataset.order = sortable(cell.textContent, numeric[i]);
  const columns = heads.map((head, i) => ({
    cellType: i || numeric[i] ? "td" : "th",
    className: head.className,
    searchable: !numeric[i],
    type: numeric[i] ? "num" : "string",
    ...(rows && {
      render: (cell, kind) =>
        kind === "display" ? markup(cell) : kind === "sort" || kind === "type" ? sortable(plain(cell), numeric[i]) : plain(cell),
      createdCell: (made, cell) => {
        if (made.tagName === "TH") made.scope = "row";
        if (!Array.isArray(cell)) return;
        if (cell[2]) made.className = cell[2];
        if (cell[3]) made.style.setProperty("--shade", cell[3]);
      },
    }),
  }));
  const keys = [...heads.keys()].filter((i) => heads[i].classList.contains("key"));
  const count = rows ? rows.length : table.tBodies[0].rows.length;
  const large = count > PLAIN;
  const name = box.dataset.name || "table";
  const safe = (text) => (/^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text);
  const exportOptions = { format: { body: (cell) => safe(written(cell).replaceAll("−", "-")), header: written } };
  const api = new DataTable(table, {
    ...(rows && { data: rows }),
    columns,
    order: [],
    autoWidth: false,
    paging: count > PAGED,
    pageLength: PAGED,
    lengthMenu: [PAGED, 4 * PAGED, 20 * PAGED],
    searching: true,
    createdRow: (row) => {
      row.cells[0].dataset.keys = keys.map((i) => row.cells[i].textContent).filter(Boolean).join(", ");
      linked(row, heads);
    },
    language: { search: "Filter", info: "_TOTAL_ rows", infoFiltered: "of _MAX_", infoEmpty: "no row", lengthMenu: "_MENU_ a page" },
    layout: {
      topStart: large ? { buttons: [
        { extend: "copyHtml5", text: "Copy", title: null, exportOptions },
        { text: "Copy as Markdown", action: (event, shown) => copyMarkdown(shown.buttons.exportData(exportOptions), event.currentTarget) },
        { extend: "csvHtml5", text: "CSV", title: null, filename: name, exportOptions },
      ] } : null,
      topEnd: large ? "search" : null,
      bottomStart: count > PAGED ? ["info", "pageLength"] : large ? "info" : null,
      bottomEnd: count > PAGED ? "paging" : null,
    },
  });
  tables.set(box, api);
  box.querySelector("nav")?.setAttribute("aria-label", `Pages of ${box.getAttribute("aria-label")}`);
  if (large) box.before(filters(api, heads, numeric));
  return api;
}

function filters(api, heads, numeric) {
  const bar = made("div", "", { className: "filters" });
  heads.forEach((head, i) => {
    const values = numeric[i] ? [] : [...new Set(api.column(i).data().toArray().map(written))];
    if (values.length < 2 || values.length > LISTED) return;
    const set = (value) => api.column(i).search(value, { exact: value !== "" }).draw();
    bar.append(chooser(head.textContent, values, "all", set));
  });
  return bar;
}

function copyMarkdown(data, button) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
  const text = [line(data.header), line(data.header.map(() => "---")), ...data.body.map(line)].join("\n");
  navigator.clipboard.writeText(text).then(() => {
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy as Markdown"), 1500);
  });
}

// ---- From a number to the cells behind it

const cells = document.querySelector('[data-name="cells"]');
const axes = cells ? [...cells.querySelectorAll("thead th")].map((head) => head.textContent) : [];

function linked(row, heads) {
  if (!cells || row.closest('[data-name="cells"]') || !row.closest("[data-place]")) return;
  const link = made("a", "cells", { href: "#cells", className: "cells" });
  link.addEventListener("click", () => {
    const place = {};
    heads.forEach((head, i) => (place[head.textContent] = row.cells[i].dataset.value ?? row.cells[i].firstChild?.textContent ?? ""));
    show(place);
  });
  row.cells[0].append(" ", link);
}

function show(place) {
  const api = enhance(cells);
  api.search("");
  axes.forEach((name, i) => {
    const value = (place[name] ?? "").trim();
    api.column(i).search(value, { exact: value !== "" });
  });
  for (const select of cells.previousElementSibling?.querySelectorAll("select") ?? []) {
    const value = (place[select.dataset.column] ?? "").trim();
    select.value = [...select.options].some((option) => option.value === value) ? value : "";
  }
  api.draw();
}

// ---- Charts

function draw(box) {
  const chart = stored(box);
  const { columns, rows, lines } = chart;
  const off = new Set();
  const chosen = new Map(chart.choices.map((i) => [i, rows[0][i]]));
  const controls = made("div", "", { className: "filters" });
  const grid = made("div", "", { className: "panels" });
  const readout = made("output", "Point at a mark, or reach it with Tab and the arrow keys.");
  const link = made("a", "the cells behind it", { href: "#cells", hidden: true });
  const foot = made("p", readout, { className: "readout" });
  foot.append(" ", link);
  let views = [];
  let place = {};
  link.addEventListener("click", () => show(place));

  for (const i of chart.choices)
    controls.append(chooser(columns[i], [...new Set(rows.map((row) => row[i]))], "", (value) => (chosen.set(i, value), render())));
  if (lines.length > 1) {
    const group = made("fieldset");
    group.append(made("legend", columns[chart.line]));
    for (const line of lines) {
      const tick = made("input", "", { type: "checkbox", checked: true, value: line.name });
      const swatch = made("i", "", { className: line.reference ? "swatch dashed" : "swatch" });
      swatch.style.setProperty("--colour", line.colour);
      tick.addEventListener("change", () => {
        tick.checked ? off.delete(line.name) : off.add(line.name);
        for (const view of views) view.signal("off", [...off]).runAsync().then(reachable);
      });
      const label = made("label", tick);
      label.append(swatch, line.name);
      group.append(label);
    }
    controls.append(group);
  }
  box.append(controls, grid, foot);
  if (chart.words) box.append(made("p", chart.words, { className: "soft" }));

  function datum(row) {
    const value = (i) => (i < 0 ? NaN : number(row[i]));
    const line = chart.line < 0 ? "" : row[chart.line];
    const main = chart.shade < 0 ? chart.y : chart.shade;
    const sd = value(chart.sd);
    const ends = chart.low >= 0 ? [value(chart.low), value(chart.high)] : [value(main) - sd, value(main) + sd];
    const whole = !ends.some(Number.isNaN);
    const interval = !whole ? "" : chart.low >= 0 ? ` (${row[chart.low]} to ${row[chart.high]})` : ` ± ${row[chart.sd]}`;
    const told = new Set([chart.x, chart.line, main, chart.low, chart.high, chart.sd]);
    const rest = columns.map((name, i) => [name, row[i], i]).filter(([name, text, i]) => !told.has(i) && text !== "-" && text !== "" && !name.endsWith(" SD"));
    const head = [line, chart.shade < 0 ? "" : `${columns[chart.y]} ${row[chart.y]}`, `${columns[chart.x]} = ${row[chart.x]}`].filter(Boolean).join(", ");
    const x = chart.shade < 0 && chart.spec.layer[2].encoding.x.type === "quantitative" ? value(chart.x) : row[chart.x];
    const sure = !whole || chart.low < 0 || ends[0] > 0 || ends[1] < 0;
    return {
      x, line, y: chart.shade < 0 ? value(chart.y) : row[chart.y], value: value(main), shade: sure ? value(chart.shade) : 0,
      low: whole ? ends[0] : null, high: whole ? ends[1] : null,
      reference: lines.some((known) => known.reference && known.name === line),
      says: [`${head}: ${columns[main]} ${row[main]}${interval}`, ...rest.map(([name, text]) => `${name}: ${text}`)].join("\n"),
      place: Object.fromEntries(columns.map((name, i) => [name, row[i]])),
    };
  }

  async function render() {
    for (const view of views) view.finalize();
    grid.replaceChildren();
    const shown = rows.filter((row) => [...chosen].every(([i, value]) => row[i] === value)).map((row) => [chart.panel < 0 ? "" : row[chart.panel], datum(row)]);
    const drawn = shown.filter(([, d]) => !Number.isNaN(d.value));
    const ends = drawn.flatMap(([, d]) => [d.value, d.low ?? d.value, d.high ?? d.value]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const room = 0.05 * (high - low || 1);
    const deepest = Math.max(1, ...drawn.map(([, d]) => Math.abs(d.shade)));
    for (const [, d] of chart.shade < 0 ? [] : drawn) {
      d.ink = Math.abs(d.shade) > 0.62 * deepest ? "white" : "#1a1a1a";
      d.text = `${d.value > 0 ? "+" : ""}${d.value.toFixed(deepest < 3 ? 2 : 1)}`.replace("-", "−");
    }
    views = await Promise.all([...new Set(drawn.map(([panel]) => panel))].map(async (panel) => {
      const spec = structuredClone(chart.spec);
      spec.data = { values: drawn.filter(([name]) => name === panel).map(([, d]) => d) };
      spec.width = "container";
      spec.autosize = { type: "fit-x", contains: "padding" };
      if (panel) spec.title = { text: panel, anchor: "start", fontSize: 13 };
      spec.config = { font: getComputedStyle(document.body).fontFamily, view: { stroke: null }, axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridColor: "#e4e4e4" } };
      if (chart.shade < 0) for (const layer of spec.layer) layer.encoding.y.scale.domain = [low - room, high + room];
      else {
        spec.layer[0].encoding.color.scale.domain = [-deepest, deepest];
        spec.height = 22 * new Set(spec.data.values.map((d) => d.y)).size;
        if (innerWidth < 576) { // a phone: room for the cells beside their names
          spec.config.axis.labelLimit = 110;
          spec.layer[0].encoding.color.legend.gradientLength = 100;
        }
      }
      const place = made("div");
      grid.append(place);
      const { view } = await vegaEmbed(place, spec, { ast: true, actions: false, renderer: "svg", defaultStyle: false });
      view.signal("off", [...off]);
      view.addEventListener("mouseover", (event, item) => item?.datum?.says && tell(item.datum));
      return view.runAsync();
    }));
    reachable();
  }

  function tell(d) {
    readout.value = d.says.replaceAll("\n", "; ");
    place = d.place;
    link.hidden = !cells;
  }

  // One mark is in the order of Tab; the arrow keys lead from it to the others.
  function reachable() {
    // Vega calls the group around marks a mark, which has no name.
    for (const group of grid.querySelectorAll('g[role="graphics-symbol"]:not([aria-label])')) group.removeAttribute("role");
    const marks = [...grid.querySelectorAll('[role="graphics-symbol"][aria-label]')];
    marks.forEach((mark, i) => {
      mark.tabIndex = i ? -1 : 0;
      mark.onfocus = () => tell(mark.__data__?.datum ?? { says: mark.getAttribute("aria-label"), place: {} });
      mark.onkeydown = (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        mark.tabIndex = -1;
        const next = marks[(i + step + marks.length) % marks.length];
        next.tabIndex = 0;
        next.focus();
      };
    });
  }

  return render();
}

// ---- When

const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    target.classList.contains("chart") ? draw(target) : enhance(target);
  }
}, { rootMargin: "300px" });
for (const box of document.querySelectorAll(".chart, .wide:has(thead)")) observer.observe(box);

// On paper nothing is folded and no table has pages, but those of which the page holds the first rows alone.
const opened = new Set();
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) opened.add(part), (part.open = true);
  for (const [box, api] of tables) if (!box.querySelector("script")) api.page.len(-1).draw();
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
  opened.clear();
  for (const [, api] of tables) api.page.len(PAGED).draw();
});
