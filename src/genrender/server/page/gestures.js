// Pointer, wheel and keys on a picture, as turns, dollies, pans and clicks.

const CLICK_PX = 5;

/**
 * @param {HTMLElement} area what is dragged
 * @param {object} on begin(), turn(right, down), pan(right, down), dolly(amount), end(), click(x, y): all lengths in
 *   heights of the area, but for x and y, which are shares of its width and height
 */
export function gestures(area, on) {
  const pointers = new Map();
  let moved = 0;
  let span = 0;
  let isDragged = false;

  const height = () => area.getBoundingClientRect().height || 1;
  const middle = () =>
    [...pointers.values()].reduce(([x, y], p) => [x + p.x / pointers.size, y + p.y / pointers.size], [0, 0]);
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  };

  function begin() {
    if (isDragged) return;
    isDragged = true;
    area.classList.add("is-dragged");
    on.begin();
  }

  area.addEventListener("pointerdown", (event) => {
    if (event.button === 1) event.preventDefault();
    if (pointers.size === 0) moved = 0;
    area.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    span = spread();
  });

  area.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const [x0, y0] = middle();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const [x1, y1] = middle();
    const [right, down] = [(x1 - x0) / height(), (y1 - y0) / height()];
    moved += Math.hypot(event.clientX - before.x, event.clientY - before.y);
    if (moved < CLICK_PX) return;
    begin();
    if (pointers.size === 2) {
      const now = spread();
      if (span > 0 && now > 0) on.dolly(-Math.log(now / span) / Math.log(1.1));
      span = now;
      on.pan(right, down);
    } else if (event.shiftKey || event.buttons === 2 || event.buttons === 4) on.pan(right, down);
    else on.turn(right, down);
  });

  function release(event) {
    if (!pointers.delete(event.pointerId)) return;
    span = spread();
    if (pointers.size > 0) return;
    if (isDragged) finish();
    else if (event.type === "pointerup" && event.button === 0) {
      const box = area.getBoundingClientRect();
      on.click((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }
  }
  area.addEventListener("pointerup", release);
  area.addEventListener("pointercancel", release);
  area.addEventListener("contextmenu", (event) => event.preventDefault());

  function finish() {
    isDragged = false;
    area.classList.remove("is-dragged");
    on.end();
  }

  // A wheel has no end: it is over when it has been still for a moment.
  let still = 0;
  function shortly(act) {
    begin();
    act();
    clearTimeout(still);
    still = setTimeout(() => {
      if (pointers.size === 0) finish();
    }, 250);
  }

  area.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const notches = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
      shortly(() => on.dolly(Math.max(-3, Math.min(3, notches))));
    },
    { passive: false },
  );

  const KEYS = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  area.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = KEYS[event.key];
    if (way) shortly(() => (event.shiftKey ? on.pan : on.turn)(way[0] / 18, way[1] / 18));
    else if (event.key === "+" || event.key === "=") shortly(() => on.dolly(-1));
    else if (event.key === "-") shortly(() => on.dolly(1));
    else return;
    event.preventDefault();
  });
}
