"use strict";
// What keeps a page up to date: it is fetched again every few seconds, and parts that differ take the place of the old.
(() => {
  const EVERY = 2000;
  const all = (selector, root) => [...root.querySelectorAll(selector)];
  const parts = (page) => new Map([
    ...["title", "header", "nav", ".keys", "#report-data"].map((selector) => [selector, page.querySelector(selector)]),
    ...all("main > section", page).map((section) => [section.getAttribute("aria-labelledby") ?? "lead", section]),
  ]);
  const texts = (page) => new Map([...parts(page)].map(([key, part]) => [key, part.outerHTML]));
  let shown = texts(document);
  let tag = "";

  const opened = (root) => all("details", root).map((each) => each.open);
  const keep = (old, part) => {
    const open = opened(old);
    all("details", part).forEach((each, place) => { each.open = open[place] ?? false; });
  };
  const heading = () => all("main h2[id], main h3[id]", document).filter((each) => each.getBoundingClientRect().top < 120).pop();

  const renew = (page) => {
    const wanted = texts(page);
    const anchor = heading();
    const top = anchor?.getBoundingClientRect().top;
    const old = parts(document);
    const renewed = [];
    const same = [...wanted.keys()].join() === [...shown.keys()].join();
    if (same) {
      for (const [key, part] of parts(page)) {
        if (shown.get(key) === wanted.get(key)) continue;
        keep(old.get(key), part);
        old.get(key).replaceWith(part);
        renewed.push(part);
      }
    } else {
      for (const selector of ["title", "header", "nav", "main", ".keys", "#report-data"]) {
        const part = page.querySelector(selector);
        document.querySelector(selector).replaceWith(part);
        renewed.push(part);
      }
    }
    shown = wanted;
    document.dispatchEvent(new CustomEvent("renewed", { detail: renewed }));
    const again = anchor && document.getElementById(anchor.id);
    if (again) scrollBy({ top: again.getBoundingClientRect().top - top, behavior: "instant" });
  };

  const say = (text) => {
    const status = document.querySelector(".live");
    if (status.textContent !== text) status.textContent = text;
  };
  const look = async () => {
    try {
      const answer = await fetch("/", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status === 200) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        tag = answer.headers.get("ETag") ?? "";
        renew(page);
        say(page.querySelector(".live").textContent);
      }
      setTimeout(look, EVERY);
    } catch {
      say("The connection is lost, so this page is no longer kept up to date. Start lowland report --watch again, and reload it.");
      setTimeout(look, 5 * EVERY);
    }
  };
  setTimeout(look, EVERY);
})();
