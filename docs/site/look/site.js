// The search, in what search.js has of all pages, and the list of pages open where there is room. Without this the
// pages read all the same.
"use strict";

(() => {
  const root = document.currentScript.dataset.root;
  const by = (id) => document.getElementById(id);
  const wide = matchMedia("(min-width: 60rem)");
  const most = 20;
  const open = () => { by("pages").open = wide.matches; };
  open();
  wide.addEventListener("change", open);

  let asked = null;
  // index is loaded when somebody searches: it is larger than a page.
  const index = () => (asked ||= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = `${root}search.js`;
    script.onload = () => done(window.mimirPages.map(([href, page, title, text]) => ({
      href, page, title, text, inTitle: `${page} ${title}`.toLowerCase(), inText: text.toLowerCase() })));
    script.onerror = () => { asked = null; failed(new Error("the list of pages cannot be loaded")); };
    document.head.append(script);
  }));

  // weigh says how well a section has all words, zero if it lacks one.
  const weigh = (one, words) => {
    let sum = 0;
    for (const word of words) {
      const weight = (one.inTitle.includes(word) ? 20 : 0) + Math.min(one.inText.split(word).length - 1, 5);
      if (weight === 0) return 0;
      sum += weight;
    }
    return sum;
  };

  const around = (one, word) => {
    const at = Math.max(0, one.inText.indexOf(word) - 60);
    return (at > 0 ? "… " : "") + one.text.slice(at, at + 180);
  };

  const search = async () => {
    const words = by("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    by("found").hidden = words.length === 0;
    if (words.length === 0) return;
    let all;
    try {
      all = await index();
    } catch (fault) {
      by("found-state").textContent = fault.message;
      return;
    }
    const found = all.map((one) => [weigh(one, words), one]).filter(([weight]) => weight > 0)
      .sort((a, b) => b[0] - a[0]);
    by("found-state").textContent = found.length === 0 ? "Nothing has all of these words."
      : found.length > most ? `${found.length} places, of which the first ${most}` : `${found.length} places`;
    by("found-list").replaceChildren(...found.slice(0, most).map(([, one]) => {
      const li = document.createElement("li"), a = document.createElement("a"), span = document.createElement("span");
      a.href = root + one.href;
      a.textContent = one.title === one.page ? one.page : `${one.page}: ${one.title}`;
      a.addEventListener("click", () => { by("found").hidden = true; });
      span.textContent = around(one, words[0]);
      li.append(a, span);
      return li;
    }));
  };

  by("search").hidden = false;
  const wanted = new URLSearchParams(location.search).get("q"); // a search can be linked to
  if (wanted) {
    by("query").value = wanted;
    search();
  }
  by("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  by("query").addEventListener("input", search);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") by("found").hidden = true;
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      by("query").focus();
    }
  });
})();
