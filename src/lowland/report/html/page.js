"use strict";
// What the page gains by a script: tips, methods that can be hidden, tables that sort, and a search of the errors.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Tips: the titles of marks, in place of the browser's own, which come late.
  const tip = make("div", { className: "tip", hidden: true });
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const place = (event) => {
    const mark = event.target.closest?.(".m");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const { clientX: x, clientY: y } = event;
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 18}px`;
  };
  document.addEventListener("pointermove", place);
  document.addEventListener("pointerdown", place);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // What is done to a part of the page: to all of it at first, and to a new part when one takes the place of an old one.
  const number = (text) => {
    const match = /[+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?/.exec(text.replace("−", "-"));
    return match ? parseFloat(match[0].replaceAll(",", "")) : NaN;
  };
  const enhance = (root) => {
    for (const svg of all("svg[role=img]", root)) {
      const title = svg.querySelector(":scope > title");
      svg.setAttribute("aria-label", title.textContent);
      svg.removeAttribute("aria-labelledby");
      const words = svg.querySelector(":scope > desc");
      if (words) svg.setAttribute("aria-describedby", words.id);
      title.remove();
      for (const mark of all(".m", svg)) {
        const own = mark.querySelector("title");
        if (!own) continue;
        mark.dataset.tip = own.textContent;
        own.remove();
      }
    }

    // Legends: a button for each method shows and hides it.
    for (const figure of all("figure", root)) {
      for (const item of all(".legend li", figure)) {
        const button = make("button", { type: "button" }, ...item.childNodes);
        button.setAttribute("aria-pressed", "true");
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") !== "true";
          button.setAttribute("aria-pressed", String(on));
          for (const group of all(`.plots .s${item.dataset.s}`, figure)) group.classList.toggle("off", !on);
        });
        item.append(button);
      }
    }

    // Tables: what does not scroll needs no focus; a click on a heading sorts.
    for (const box of all(".scroll, pre", root)) {
      const settle = () => {
        if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
        else box.removeAttribute("tabindex");
      };
      new ResizeObserver(settle).observe(box);
    }
    for (const table of all("table.data", root)) {
      const body = table.tBodies[0];
      if (body.rows.length < 3) continue;
      const heads = [...table.tHead.rows[0].cells];
      heads.forEach((head, column) => {
        const button = make("button", { type: "button" }, ...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const down = head.getAttribute("aria-sort") === "ascending";
          for (const other of heads) other.removeAttribute("aria-sort");
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
          const isNumber = head.classList.contains("n");
          const keyed = [...body.rows].map((row) => {
            const text = row.cells[column].textContent;
            return [isNumber ? number(text) : text, row];
          });
          keyed.sort(([a], [b]) => {
            if (!isNumber) return (down ? -1 : 1) * a.localeCompare(b);
            if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
            return (down ? -1 : 1) * (a - b);
          });
          body.append(...keyed.map(([, row]) => row));
        });
      });
    }

    // Errors: all of them, from the page's data.
    const box = root.querySelector("[data-errors]");
    if (!box) return;
    const report = JSON.parse(document.getElementById("report-data").textContent);
    const rows = report.tables.errors.rows;
    const { methods, runs, expected } = report.errors;
    const FIRST = 20, STEP = 50;
    const [EXAMPLE, TEXT, LABEL, CATEGORY, KINDS, WRONG] = [0, 1, 2, 3, 4, 5];
    const form = box.querySelector("form");
    const list = box.querySelector(".list");
    const count = box.querySelector(".count");
    const more = box.querySelector(".more");
    const keys = box.querySelector("template").content;
    const texts = rows.map((row) => [row[EXAMPLE], row[TEXT], row[LABEL], ...methods.map((each) => row[each.predicted])].join("\n").toLowerCase());
    const key = (each) => keys.querySelector(`[data-key="${each.number}"]`).firstElementChild.cloneNode(true);
    const strong = (text) => make("b", { textContent: text });

    const draw = (row) => {
      const about = [];
      if (row[LABEL]) about.push(make("span", {}, `${expected} `, strong(row[LABEL])));
      about.push(make("span", {}, `wrong in ${row[WRONG]} of ${runs} runs`));
      if (row[TEXT]) about.push(make("span", {}, `example ${row[EXAMPLE]}`));
      if (row[CATEGORY]) about.push(make("span", {}, `category ${row[CATEGORY]}`));
      if (row[KINDS]) about.push(make("span", {}, `text: ${row[KINDS]}`));
      const who = methods.flatMap((each) => {
        const parts = [];
        if (row[each.wrong]) {
          parts.push(`: wrong in ${row[each.wrong]} of ${each.seeds}`);
          if (row[each.predicted]) parts.push(", says ", strong(row[each.predicted]));
          if (row[each.confidence] !== null) parts.push(` (${row[each.confidence].toFixed(2)})`);
        }
        if (each.fixed !== null && row[each.fixed]) parts.push(`${parts.length ? "," : ":"} fixed in ${row[each.fixed]}`);
        if (each.broken !== null && row[each.broken]) parts.push(`${parts.length ? "," : ":"} broken in ${row[each.broken]}`);
        return parts.length ? [make("li", {}, key(each), make("span", {}, each.method, ...parts))] : [];
      });
      return make("li", {},
        make("p", { className: "text", textContent: row[TEXT] || `example ${row[EXAMPLE]}` }),
        make("p", { className: "about" }, ...about),
        make("ul", { className: "who" }, ...who));
    };

    const changed = (row, chosen, kind) => chosen.some((each) => {
      const column = kind.startsWith("fixed") ? each.fixed : each.broken;
      return column !== null && row[column] >= (kind.endsWith("every seed") ? each.seeds : 1);
    });
    let found = [];
    let shown = 0;
    const show = () => {
      const next = found.slice(shown, shown + (shown ? STEP : FIRST));
      list.append(...next.map((place) => draw(rows[place])));
      shown += next.length;
      more.hidden = shown >= found.length;
      count.textContent = found.length ? `${found.length} of ${rows.length} examples; ${shown} shown` : "No example fits; ask for less";
    };
    const search = () => {
      const asked = Object.fromEntries(new FormData(form));
      const least = Number(asked.confidence || 0);
      const output = form.querySelector("output");
      if (output) output.textContent = least;
      const words = asked.words.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = asked.method ? methods.filter((each) => each.method === asked.method) : methods;
      found = rows.map((_, place) => place).filter((place) => {
        const row = rows[place];
        return words.every((word) => texts[place].includes(word))
          && (!asked.label || row[LABEL] === asked.label)
          && (!asked.category || row[CATEGORY] === asked.category)
          && (!asked.kind || row[KINDS].split("; ").includes(asked.kind))
          && (!asked.change || changed(row, chosen, asked.change))
          && (!asked.method || asked.change || chosen.some((each) => row[each.wrong]))
          && (!least || chosen.some((each) => row[each.confidence] !== null && row[each.confidence] >= least));
      });
      shown = 0;
      list.replaceChildren();
      show();
    };
    form.hidden = false;
    form.addEventListener("input", search);
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => {
      const first = list.children.length;
      show();
      const next = list.children[first];
      if (next) { next.tabIndex = -1; next.focus(); }
    });
    search();
  };
  enhance(document);
  document.addEventListener("renewed", (event) => event.detail.forEach(enhance));
})();
