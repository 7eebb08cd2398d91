// The page without this script is complete; with it, one can walk the two passes, pick a step, fold and change the light.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const one = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const phone = matchMedia("(max-width: 760px)");
  const body = document.body;

  // -- rows by key, and who reads whom
  const rows = all(".row");
  const byKey = new Map(rows.map((row) => [row.dataset.key, row]));
  const users = new Map(rows.map((row) => [row.dataset.key, (row.dataset.users || "").split(" ").filter(Boolean)]));
  const reads = new Map();
  for (const [key, list] of users) for (const user of list) {
    if (!reads.has(user)) reads.set(user, []);
    reads.get(user).push(key);
  }
  const lines = all("a.line");
  const linesOf = new Map();
  for (const line of lines) for (const key of line.dataset.keys.split(" ")) linesOf.set(key, line);

  // -- arcs at the margin: from a step down to those that read it
  const list = document.querySelector(".rows");
  const track = document.querySelector(".track");
  const svg = document.querySelector("svg.arcs");
  const [every, into, out] = svg.children;
  let places = new Map();
  const measure = () => {
    places = new Map();
    for (const row of rows) {
      const item = row.parentElement;
      if (item.offsetHeight) places.set(row.dataset.key, item.offsetTop + item.offsetHeight / 2);
    }
    // Scaled with the list: on paper everything is smaller, by one factor.
    svg.setAttribute("viewBox", `0 0 ${svg.clientWidth} ${track.offsetHeight}`);
    const pieces = [];
    for (const [key, list] of users) for (const user of list) pieces.push(arc(key, user));
    every.setAttribute("d", pieces.join(""));
    light(picked);
  };
  const arc = (from, to) => {
    const a = places.get(from), b = places.get(to);
    if (a === undefined || b === undefined || a === b) return "";
    const edge = svg.clientWidth - 2;
    const reach = edge - Math.min(edge - 2, 5 + 6.5 * Math.log2(1 + Math.abs(b - a) / 40));
    return `M${edge} ${a + 3}C${reach} ${a + 3} ${reach} ${b - 3} ${edge} ${b - 3}`;
  };

  // -- picking a step: its row, its lines, its places in the account
  let picked = null;
  const light = (key) => {
    into.setAttribute("d", (reads.get(key) || []).map((from) => arc(from, key)).join(""));
    out.setAttribute("d", (users.get(key) || []).map((to) => arc(key, to)).join(""));
  };
  const visible = (key) => {
    // What is folded away is shown by the row that it is folded into.
    let row = byKey.get(key);
    while (row && row.parentElement.classList.contains("folded")) row = byKey.get(row.parentElement.dataset.within);
    return row ? row.dataset.key : key;
  };
  const into_view = (element, block = "nearest") => {
    if (element) element.scrollIntoView({ block, behavior: still.matches ? "auto" : "smooth" });
  };
  const within = (pane, element) => {
    // Only the pane is scrolled, not the page around it.
    if (!element || phone.matches || getComputedStyle(pane).overflowY === "visible") return;
    const box = pane.getBoundingClientRect(), it = element.getBoundingClientRect();
    if (it.top < box.top + 50) pane.scrollTop += it.top - box.top - 60;
    else if (it.bottom > box.bottom - 20) pane.scrollTop += it.bottom - box.bottom + 60;
  };
  const pick = (key, target) => {
    for (const element of all(".now")) element.classList.remove("now");
    for (const element of all("[aria-current]")) element.removeAttribute("aria-current");
    picked = key;
    if (key === null) return light(null);
    const row = byKey.get(visible(key));
    if (row) {
      row.classList.add("now");
      row.setAttribute("aria-current", "step");
      roving(row);
      within(document.querySelector(".steps"), row);
    }
    const line = linesOf.get(key);
    if (line) {
      line.classList.add("now");
      within(document.querySelector(".source"), line);
    }
    for (const id of ["entry-" + key, "card-" + key]) {
      const element = one(id);
      if (!element) continue;
      element.classList.add("now");
      for (let up = element.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
    }
    light(visible(key));
    const goal = one(target + "-" + key) || one("card-" + key) || one("entry-" + key);
    if (target === "row") within(document.querySelector(".steps"), row);
    else if (goal) into_view(goal, "center");
  };

  // -- the walk: down with the values, up with the adjoints
  const forward = rows.filter((row) => row.dataset.forward !== undefined);
  const given = rows.filter((row) => row.dataset.given !== undefined);
  // Upwards, what is inside of a step comes after the step: its adjoint is what goes in.
  const backward = [];
  const held = new Map();
  for (const row of rows) {
    const key = row.parentElement.dataset.within || "";
    if (!held.has(key)) held.set(key, []);
    held.get(key).push(row);
  }
  const upwards = (key) => {
    for (const row of [...(held.get(key) || [])].reverse()) {
      if (row.dataset.backward !== undefined) backward.push(row);
      upwards(row.dataset.key);
    }
  };
  upwards("");
  const slider = one("where"), said = one("said"), walk = document.querySelector(".walk");
  const last = forward.length + backward.length;
  let at = 0;
  const tell = (lead, text) => {
    const strong = document.createElement("b");
    strong.textContent = lead;
    said.replaceChildren(strong, lead ? "  " + text : text);
  };
  const go = (to) => {
    at = Math.max(0, Math.min(last, to));
    slider.value = at;
    body.classList.toggle("walking", at > 0 && at < last);
    walk.classList.toggle("back", at > forward.length);
    const upward = at > forward.length;
    for (const row of given) row.classList.toggle("valued", at > 0);
    forward.forEach((row, k) => row.classList.toggle("valued", k < at));
    backward.forEach((row, k) => row.classList.toggle("told", k < at - forward.length));
    let text, lead;
    if (at === 0) {
      [lead, text] = ["", "start: the arguments are given"];
      pick(null);
    } else {
      const row = upward ? backward[at - forward.length - 1] : forward[at - 1];
      const count = upward ? `${at - forward.length} of ${backward.length}` : `${at} of ${forward.length}`;
      lead = `${upward ? "↑ backward" : "↓ forward"} ${count}`;
      text = upward ? row.dataset.backward : row.dataset.forward;
      pick(row.dataset.key, phone.matches ? "row" : upward ? "card" : "entry");
      if (phone.matches) into_view(row, "center");
    }
    tell(lead, text);
    slider.setAttribute("aria-valuetext", `${lead} ${text}`.trim());
    one("back").disabled = at === 0;
    one("on").disabled = at === last;
  };
  slider.max = last;
  slider.addEventListener("input", () => go(+slider.value));
  one("back").addEventListener("click", () => go(at - 1));
  one("on").addEventListener("click", () => go(at + 1));

  // -- the keyboard: ← → walk from anywhere, ↑ ↓ move among the rows, Escape lets go
  const roving = (row) => {
    for (const other of rows) if (other.tabIndex === 0) other.tabIndex = -1;
    row.tabIndex = 0;
  };
  for (const row of rows) row.tabIndex = -1;
  if (rows.length) roving(rows[0]);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    const row = event.target.closest(".row");
    if (!step || !row || event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = rows.filter((one) => !one.parentElement.classList.contains("folded"));
    const to = shown[Math.max(0, Math.min(shown.length - 1, shown.indexOf(row) + step))];
    event.preventDefault();
    roving(to);
    to.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.target.closest("input, textarea, select, .scrolls")) return;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault();
      go(at + (event.key === "ArrowRight" ? 1 : -1));
    } else if (event.key === "Escape") go(0);
  });

  // -- clicks: a row, a line, a name in the account
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const link = event.target.closest("a[data-key], a.line");
    if (!link) return;
    event.preventDefault();
    if (link.classList.contains("line")) {
      const keys = link.dataset.keys.split(" ");
      pick(keys[(keys.indexOf(picked) + 1) % keys.length], "card");
      for (const key of keys) byKey.get(visible(key))?.classList.add("now");
    } else pick(link.dataset.key, "card");
    const { forward, backward } = byKey.get(visible(picked))?.dataset || {};
    if (forward || backward) tell("", [forward, backward].filter(Boolean).join("; "));
  });

  // -- folds in the list of steps
  const folds = all(".fold");
  const fold = (button, open) => {
    button.setAttribute("aria-expanded", open);
    for (const item of all(`[data-within="${CSS.escape(button.dataset.opens)}"]`, list)) {
      item.classList.toggle("folded", !open);
      const inner = open ? null : item.querySelector('.fold[aria-expanded="true"]');
      if (inner) fold(inner, false);
    }
  };
  for (const button of folds) {
    button.addEventListener("click", () => {
      fold(button, button.getAttribute("aria-expanded") !== "true");
      measure();
    });
  }
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((button) => button.getAttribute("aria-expanded") !== "true");
    for (const button of closed) fold(button, true);
    for (const each of all("details")) each.open = true;
    measure();
  });
  addEventListener("afterprint", () => {
    for (const button of closed) fold(button, false);
    measure();
  });

  // -- light and dark
  const theme = one("theme"), night = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => root.classList.contains("dark") || (night.matches && !root.classList.contains("light"));
  const shade = (name) => {
    root.classList.remove("light", "dark");
    if (name) root.classList.add(name);
    theme.textContent = dark() ? "light" : "dark";
    theme.setAttribute("aria-label", dark() ? "Switch to light" : "Switch to dark");
  };
  let kept = null;
  try { kept = localStorage.getItem("chainrule-theme"); } catch { /* a page in a frame keeps nothing */ }
  shade(kept === "light" || kept === "dark" ? kept : null);
  night.addEventListener("change", () => shade([...root.classList].find((name) => name === "light" || name === "dark")));
  theme.addEventListener("click", () => {
    const name = dark() ? "light" : "dark";
    shade(name);
    try { localStorage.setItem("chainrule-theme", name); } catch { /* see above */ }
  });

  new ResizeObserver(measure).observe(list);
  measure();
  go(0);
})();
