"use strict";
// Draws the loss on a plane as a surface that can be turned: far cells first, so that near ones hide them.
(() => {
  const surfaces = JSON.parse(document.getElementById("surfaces").textContent);
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const HOME = { turn: -35, tilt: 35 };
  const FINE = 28; // number of cells along each side; between the measured points the loss is interpolated
  const box = document.querySelector(".turning");
  const canvas = box.querySelector("canvas");
  const select = box.querySelector("select");
  const status = box.querySelector("[role=status]");
  const sliders = { turn: box.querySelector("[name=turn]"), tilt: box.querySelector("[name=tilt]") };
  const pen = canvas.getContext("2d");
  const view = { ...HOME };
  let surface, mesh;

  const colour = (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
    const first = Math.min(Math.floor(at), RAMP.length - 2);
    const mixed = RAMP[first].map((start, i) => Math.round(start + (RAMP[first + 1][i] - start) * (at - first)));
    return `rgb(${mixed.join(" ")})`;
  };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const between = (values, at) => (at - values[0]) / (values[values.length - 1] - values[0]) * 2 - 1; // -1 to 1
  const height = (loss) => (loss === null ? 1 : Math.min((loss - surface.low) / (surface.high - surface.low), 1));

  // Loss between the measured points, as a share of the scale; across and up go from 0 to 1.
  const shareAt = (across, up) => {
    const place = (share, count) => {
      const at = share * (count - 1), low = Math.min(Math.floor(at), count - 2);
      return [low, at - low];
    };
    const [column, right] = place(across, surface.x.length), [row, above] = place(up, surface.y.length);
    const at = (r, c) => height(surface.loss[r][c]);
    const lower = at(row, column) * (1 - right) + at(row, column + 1) * right;
    const upper = at(row + 1, column) * (1 - right) + at(row + 1, column + 1) * right;
    return lower * (1 - above) + upper * above;
  };

  const choose = (number) => {
    surface = surfaces[number];
    mesh = [];
    for (let row = 0; row <= FINE; row++) {
      mesh.push([]);
      for (let column = 0; column <= FINE; column++) {
        mesh[row].push([column / FINE * 2 - 1, row / FINE * 2 - 1, shareAt(column / FINE, row / FINE)]);
      }
    }
    canvas.setAttribute("aria-label", `Loss, ${surface.title}: ${surface.places.map(words).join("; ")}`);
    draw();
  };
  const words = (place) => `${place.name}: ${place.loss === null ? "not finite" : place.loss.toPrecision(3)}`;

  // From the box (x and y from -1 to 1, share from 0 to 1) to pixels, and how near it is.
  const projection = () => {
    const turn = view.turn * Math.PI / 180, tilt = view.tilt * Math.PI / 180;
    const size = Math.min((canvas.clientWidth - 110) / 2.83, canvas.clientHeight / 2.75);
    return ([x, y, share]) => {
      const across = x * Math.cos(turn) - y * Math.sin(turn), far = x * Math.sin(turn) + y * Math.cos(turn);
      const up = (share - 0.5) * 1.1;
      return [
        canvas.clientWidth / 2 + size * across,
        canvas.clientHeight / 2 - size * (up * Math.cos(tilt) + far * Math.sin(tilt)),
        up * Math.sin(tilt) - far * Math.cos(tilt),
      ];
    };
  };
  const line = (points, style, width = 1) => {
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.stroke();
  };

  const drawCells = (project) => {
    const cells = [];
    for (let row = 0; row < FINE; row++) {
      for (let column = 0; column < FINE; column++) {
        const corners = [mesh[row][column], mesh[row][column + 1], mesh[row + 1][column + 1], mesh[row + 1][column]];
        const points = corners.map(project);
        const near = points.reduce((sum, point) => sum + point[2], 0);
        cells.push({ points, near, share: corners.reduce((sum, corner) => sum + corner[2], 0) / 4 });
      }
    }
    cells.sort((a, b) => a.near - b.near);
    for (const { points, share } of cells) {
      pen.beginPath();
      points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.fillStyle = colour(share);
      pen.fill();
      pen.strokeStyle = "rgb(0 0 0 / .22)";
      pen.lineWidth = 0.6;
      pen.stroke();
    }
  };

  // The floor, and an axis of the loss at the corner that is furthest to the left.
  const drawFrame = (project) => {
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
    line([...corners, corners[0]].map(([x, y]) => project([x, y, 0])), css("--muted"));
    const [x, y] = corners.reduce((a, b) => (project([...b, 0])[0] < project([...a, 0])[0] ? b : a));
    line([project([x, y, 0]), project([x, y, 1])], css("--muted"));
    if (view.tilt > 75) return; // the axis is too short for its numbers
    pen.fillStyle = css("--muted");
    pen.textAlign = "right";
    for (let step = 0; step <= 4; step++) {
      const [left, top] = project([x, y, step / 4]);
      const loss = surface.low + (surface.high - surface.low) * step / 4;
      pen.fillText(loss.toPrecision(3) + (step === 4 && surface.cut ? " or more" : ""), left - 8, top + 4);
    }
  };

  const drawPlaces = (project) => {
    for (const place of surface.places) {
      const [x, y] = [between(surface.x, place.x), between(surface.y, place.y)];
      const [left, top] = project([x, y, height(place.loss)]);
      const [labelLeft, labelTop] = [left, top - 26];
      line([[left, top], [labelLeft, labelTop]], css("--ink"), 1.25);
      pen.beginPath();
      pen.arc(left, top, 4.5, 0, 2 * Math.PI);
      pen.fillStyle = css("--paper");
      pen.fill();
      pen.strokeStyle = css("--ink");
      pen.lineWidth = 1.5;
      pen.stroke();
      const text = words(place), width = pen.measureText(text).width + 10;
      const start = Math.min(Math.max(labelLeft - width / 2, 2), canvas.clientWidth - width - 2);
      pen.fillStyle = css("--paper");
      pen.fillRect(start, labelTop - 16, width, 19);
      pen.fillStyle = css("--ink");
      pen.textAlign = "left";
      pen.fillText(text, start + 5, labelTop - 2);
    }
  };

  const draw = () => {
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    pen.lineJoin = "round";
    const project = projection();
    drawFrame(project);
    drawCells(project);
    drawPlaces(project);
    for (const name of ["turn", "tilt"]) sliders[name].value = view[name];
  };

  const turnTo = (turn, tilt) => {
    view.turn = ((turn + 540) % 360) - 180;
    view.tilt = Math.min(Math.max(tilt, 0), 90);
    draw();
  };
  const tell = () => { status.textContent = `Turned by ${Math.round(view.turn)}°, tilted by ${Math.round(view.tilt)}°`; };

  const STEPS = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] };
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Home") turnTo(HOME.turn, HOME.tilt);
    else if (STEPS[event.key]) turnTo(view.turn + STEPS[event.key][0], view.tilt + STEPS[event.key][1]);
    else return;
    event.preventDefault();
    tell();
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) turnTo(view.turn + event.movementX / 2, view.tilt + event.movementY / 2);
  });
  canvas.addEventListener("pointerup", tell);
  for (const name of ["turn", "tilt"]) {
    sliders[name].addEventListener("input", () => {
      turnTo(Number(sliders.turn.value), Number(sliders.tilt.value));
      tell();
    });
  }
  box.querySelector("button").addEventListener("click", () => { turnTo(HOME.turn, HOME.tilt); tell(); });
  if (select) select.addEventListener("change", () => choose(select.selectedIndex));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  box.hidden = false;
  choose(0);
  new ResizeObserver(draw).observe(canvas);
})();
