// Scrolls through pictures, and changes the window, by mouse and keyboard.
// Without scripts, the form and the links of the page do the same.
"use strict";

(() => {
  const viewer = document.getElementById("viewer");
  if (!viewer) return;

  const find = (id) => document.getElementById(id);
  const screen = find("screen");
  const picture = find("picture");
  const overlay = find("overlay");
  const status = find("status");
  const number = find("image");
  const center = find("center");
  const width = find("width");
  const { url, here } = viewer.dataset;
  const count = Number(viewer.dataset.count);
  const own = { center: Number(viewer.dataset.center), width: Number(viewer.dataset.width) };
  const state = { number: Number(viewer.dataset.number), window: null };
  if (viewer.dataset.chosen) state.window = { center: Number(center.value), width: Number(width.value) };

  let isLoading = !picture.hidden && !picture.complete;
  let wanted = picture.src; // of the page itself, until something else is asked for
  let timer = 0;

  const rounded = (value) => Number(value.toPrecision(6));

  function query() {
    const { window: chosen } = state;
    return chosen ? `center=${chosen.center}&width=${chosen.width}` : "";
  }

  function address(at) {
    const parameters = query();
    return `${url}${at}${parameters ? `?${parameters}` : ""}`;
  }

  // One picture at a time is on its way; of those asked for meanwhile, the last one counts.
  function load() {
    wanted = address(state.number);
    if (!isLoading) start();
  }

  function start() {
    isLoading = true;
    picture.src = wanted;
  }

  function settled() {
    isLoading = false;
    if (picture.src !== new URL(wanted, document.baseURI).href) {
      start();
    } else if (state.number < count) {
      new Image().src = address(state.number + 1);
    }
  }

  picture.addEventListener("load", settled);
  picture.addEventListener("error", settled);

  function say() {
    const at = `Picture ${state.number} of ${count}`;
    const shown = state.window || own;
    const words = center ? `, window ${rounded(shown.center)} / ${rounded(shown.width)}` : "";
    picture.alt = at;
    overlay.hidden = false;
    overlay.textContent = `${state.number} / ${count}${center ? `   C ${rounded(shown.center)}  W ${rounded(shown.width)}` : ""}`;
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      status.textContent = at + words;
      remember(); // not at once: browsers limit how often a page may change its address
    }, 300);
  }

  function remember() {
    const parameters = query();
    const end = parameters ? `&${parameters}` : "";
    window.history.replaceState(null, "", `${here}?image=${state.number}${end}`);
  }

  function update() {
    const problem = screen.querySelector(".problem");
    if (problem) problem.remove();
    picture.hidden = false;
    number.value = state.number;
    slider.value = state.number;
    if (center) {
      const shown = state.window || own;
      center.value = rounded(shown.center);
      width.value = rounded(shown.width);
    }
    const at = find("at");
    if (at) at.href = `${url}${state.number}/at`;
    say();
    load();
  }

  function go(to) {
    const next = Math.min(Math.max(Math.round(to) || 1, 1), count);
    if (next === state.number) return;
    state.number = next;
    update();
  }

  function change(chosen) {
    if (!center) return;
    state.window = chosen && {
      center: rounded(chosen.center),
      width: rounded(Math.max(chosen.width, 1)),
    };
    update();
  }

  const typed = () => ({ center: Number(center.value), width: Number(width.value) });
  const current = () => state.window || own;
  const step = () => Math.max(current().width / 20, 1);

  // A slider beside the number, and no links that load the page anew.
  const slider = document.createElement("input");
  slider.type = "range";
  slider.id = "slider";
  slider.min = 1;
  slider.max = count;
  slider.value = state.number;
  slider.setAttribute("aria-label", "Picture");
  slider.addEventListener("input", () => go(Number(slider.value)));
  const field = number.closest(".field");
  if (count > 1) field.after(slider);
  for (const links of viewer.querySelectorAll(".steps")) links.remove();
  if (!center) find("apply")?.remove();

  number.addEventListener("change", () => go(Number(number.value)));
  find("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    state.number = Math.min(Math.max(Math.round(Number(number.value)) || 1, 1), count);
    if (center && center.value !== "" && width.value !== "") change(typed());
    else update();
  });
  for (const input of [center, width].filter(Boolean)) {
    input.addEventListener("change", () => {
      if (center.value !== "" && width.value !== "") change(typed());
    });
  }
  if (center) {
    find("reset").addEventListener("click", (event) => {
      event.preventDefault();
      change(null);
    });
  }
  for (const preset of viewer.querySelectorAll(".presets a")) {
    preset.addEventListener("click", (event) => {
      event.preventDefault();
      change({ center: Number(preset.dataset.center), width: Number(preset.dataset.width) });
    });
  }

  const keys = document.createElement("p");
  keys.className = "keys";
  keys.id = "keys";
  const parts = count > 1 ? ["Scroll: wheel or ", "↑", " ", "↓", ", ", "Home", " ", "End", ". "] : [];
  if (center) parts.push("Window: drag, or ", "Shift", " with ", "↑", " ", "↓", " (center), ", "←", " ", "→", " (width); ", "R", " resets.");
  const names = new Set(["↑", "↓", "←", "→", "Home", "End", "Shift", "R"]);
  for (const part of parts) {
    if (names.has(part)) {
      const key = document.createElement("kbd");
      key.textContent = part;
      keys.append(key);
    } else {
      keys.append(part);
    }
  }
  if (parts.length) status.before(keys);

  screen.tabIndex = 0;
  screen.setAttribute("role", "application");
  screen.setAttribute("aria-label", "Pictures: scroll and change the window with the arrow keys");
  screen.setAttribute("aria-describedby", "keys");

  const scrolls = {
    ArrowUp: () => go(state.number - 1),
    ArrowLeft: () => go(state.number - 1),
    ArrowDown: () => go(state.number + 1),
    ArrowRight: () => go(state.number + 1),
    PageUp: () => go(state.number - 10),
    PageDown: () => go(state.number + 10),
    Home: () => go(1),
    End: () => go(count),
  };
  const windows = {
    ArrowUp: () => change({ ...current(), center: current().center + step() }),
    ArrowDown: () => change({ ...current(), center: current().center - step() }),
    ArrowRight: () => change({ ...current(), width: current().width + step() }),
    ArrowLeft: () => change({ ...current(), width: current().width - step() }),
  };

  screen.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const isReset = event.key === "r" || event.key === "R";
    const action = isReset ? () => change(null) : (event.shiftKey ? windows : scrolls)[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // A wheel scrolls the pictures only where it has several, so that the page can be scrolled.
  let turned = 0;
  screen.addEventListener("wheel", (event) => {
    if (count < 2 || event.ctrlKey) return;
    event.preventDefault();
    turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * 40;
    const steps = Math.trunc(turned / 40);
    if (steps) {
      turned -= steps * 40;
      go(state.number + Math.max(-3, Math.min(3, steps)));
    }
  }, { passive: false });

  let drag = null;
  screen.addEventListener("pointerdown", (event) => {
    if (!center || event.button !== 0 || event.pointerType === "touch") return;
    event.preventDefault();
    screen.focus({ preventScroll: true });
    screen.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, ...current() };
  });
  screen.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const scale = Math.max(drag.width, 1) / 300;
    change({
      center: drag.center + (event.clientY - drag.y) * scale,
      width: drag.width + (event.clientX - drag.x) * scale,
    });
  });
  for (const name of ["pointerup", "pointercancel"]) {
    screen.addEventListener(name, () => { drag = null; });
  }

  overlay.textContent = `${state.number} / ${count}`;
})();
