// Lines that move: what a figure was over the last minutes. What was not known is a gap, and never a zero.

const width = 240, height = 44, edge = 2;

// make is an element of SVG.
export function make(name, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}

// span is how much of the past a line shows, in milliseconds.
export const span = 5 * 60 * 1000;

// chart returns a figure for a name, with a method show(points, now), of points {at, value}, value null where unknown.
export function chart(name, write) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const title = document.createElement("span"), value = document.createElement("strong");
  title.textContent = name;
  caption.append(title, " ", value);
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none" });
  const ground = make("path", { class: "ground", d: `M0 ${height - edge}H${width}` });
  const line = make("path", { class: "line" });
  picture.append(ground, line);
  figure.append(caption, picture);
  return {
    figure,
    show(points, now) {
      const seen = points.filter((p) => p.at > now - span);
      const known = seen.filter((p) => p.value !== null);
      const most = Math.max(0, ...known.map((p) => p.value));
      const last = seen.at(-1);
      const text = last && last.value !== null ? write(last.value) : "not known";
      if (value.textContent !== text) value.textContent = text;
      picture.setAttribute("aria-label", known.length
        ? `${name}: now ${text}, at most ${write(most)} in the last five minutes` : `${name}: not known`);
      line.setAttribute("d", path(seen, now, most));
    },
  };
}

// path draws points; after one that is not known it begins anew.
export function path(points, now, most) {
  let text = "", drawing = false;
  for (const p of points) {
    if (p.value === null) {
      drawing = false;
      continue;
    }
    const x = width * (1 - (now - p.at) / span);
    const y = height - edge - (height - 2 * edge) * (most > 0 ? p.value / most : 0);
    text += `${drawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!drawing) text += "h.1"; // one point alone is seen too
    drawing = true;
  }
  return text;
}
