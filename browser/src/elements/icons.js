const SVG = "http://www.w3.org/2000/svg";

/** Drawn on a grid of 24. Icons are decoration: their meaning is always given in words, too. */
const PATHS = {
  bell: "M18 9a6 6 0 0 0-12 0c0 6-2.5 7.5-2.5 7.5h17S18 15 18 9M10 20a2.2 2.2 0 0 0 4 0",
  info: "M12 11v5M12 7.6v.1M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  success: "M8 12.3l2.8 2.8L16 9.6M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  warning: "M12 9.5v4.2M12 16.9v.1M10.4 4.2L2.6 17.8a1.8 1.8 0 0 0 1.6 2.7h15.6a1.8 1.8 0 0 0 1.6-2.7L13.6 4.2a1.8 1.8 0 0 0-3.2 0z",
  error: "M9.2 9.2l5.6 5.6M14.8 9.2l-5.6 5.6M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  critical: "M12 7.5v5M12 16v.1M8.2 3h7.6L21 8.2v7.6L15.8 21H8.2L3 15.8V8.2z",
  read: "M5 12.5l4.5 4.5L19 7.5",
  unread: "M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z",
  archive: "M4 8.5h16M5.5 8.5V18A1.5 1.5 0 0 0 7 19.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5M3.5 4.5h17v4h-17zM10 12.5h4",
  unarchive: "M4 14v4a1.5 1.5 0 0 0 1.5 1.5h13A1.5 1.5 0 0 0 20 18v-4M12 15V4.5M7.5 9L12 4.5 16.5 9",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("part", "icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.info);
  svg.append(path);
  return svg;
}
