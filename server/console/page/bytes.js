// Keys and values are bytes. Here they become text, and keys bytes again, so that nothing in them passes for what it is
// not: what a font does not show, or shows elsewhere, is written by its bytes.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const hex = (byte) => byte.toString(16).padStart(2, "0");

export const fromBase64 = (text) => Uint8Array.from(atob(text || ""), (c) => c.charCodeAt(0));

export function toBase64(bytes) {
  let text = "";
  for (const b of bytes) text += String.fromCharCode(b);
  return btoa(text);
}

// decoded returns the text that bytes are as UTF-8, null if they are none.
function decoded(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

// unseen is what is not to be seen as what it is: controls, formats such as marks of direction, what is assigned to
// nobody, separators, and spaces that are another one than the usual.
const unseen = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

// written is a key as text: \xNN is a byte, and \\ a backslash. read makes it the same bytes again.
export function written(bytes) {
  const text = decoded(bytes);
  if (text === null) {
    return [...bytes].map((b) => (b < 0x20 || b > 0x7e ? `\\x${hex(b)}` : b === 0x5c ? "\\\\" : String.fromCharCode(b))).join("");
  }
  return [...text].map((c) => {
    if (c === "\\") return "\\\\";
    return unseen.test(c) ? [...new TextEncoder().encode(c)].map((b) => `\\x${hex(b)}`).join("") : c;
  }).join("");
}

// read returns the bytes that a text says, as written writes it.
export function read(text) {
  const bytes = [];
  for (const part of text.matchAll(/\\x([0-9a-fA-F]{2})|(\\\\)|(\\)|([^\\]+)/g)) {
    if (part[3]) throw new Error("a backslash is written \\\\, and a byte \\x and two digits of 16");
    if (part[1]) bytes.push(parseInt(part[1], 16));
    else bytes.push(...new TextEncoder().encode(part[2] ? "\\" : part[4]));
  }
  return Uint8Array.from(bytes);
}

// behind returns the first key behind all that begin with a prefix: that of one byte 0, which means no end, if there is
// none.
export function behind(prefix) {
  const end = [...prefix];
  while (end.length && end.at(-1) === 0xff) end.pop();
  if (!end.length) return Uint8Array.of(0);
  end[end.length - 1]++;
  return Uint8Array.from(end);
}

// Of a value so much is shown: characters of a text, bytes of anything else.
const mostText = 4096, mostBytes = 1024;

// binary is what no text has.
const binary = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;

// valueOf returns what is shown of a value, and what is said of it.
export function valueOf(bytes) {
  const text = decoded(bytes), size = `${bytes.length} ${bytes.length === 1 ? "byte" : "bytes"}`;
  if (text !== null && !binary.test(text)) {
    const shown = [...text.slice(0, mostText).replace(/[\ud800-\udbff]$/, "")].map((c) => ("\t\n\r\u00a0".includes(c) || !unseen.test(c) ? c
      : `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`)).join("");
    return { text: shown, about: text.length > mostText
      ? `${size} of text, of which the first ${mostText} characters are shown` : `${size} of text` };
  }
  const rows = [];
  for (let at = 0; at < Math.min(bytes.length, mostBytes); at += 16) {
    const row = [...bytes.slice(at, Math.min(at + 16, mostBytes))];
    rows.push(`${at.toString(16).padStart(6, "0")}  ${row.map(hex).join(" ").padEnd(47)}  ` +
      row.map((b) => (b < 0x20 || b > 0x7e ? "." : String.fromCharCode(b))).join(""));
  }
  return { text: rows.join("\n"), about: `${size}, not text${bytes.length > mostBytes
    ? `, of which the first ${mostBytes} are shown` : ""}` };
}

// brief is as much of a key or a value as has room, by default in a row of a table.
export function brief(bytes, most = 120) {
  if (bytes.length <= most) return written(bytes);
  let end = most;
  while (end > most - 4 && (bytes[end] & 0xc0) === 0x80) end--; // not within a character
  return `${written(bytes.slice(0, end))}…`;
}
