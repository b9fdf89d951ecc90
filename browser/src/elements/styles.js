/**
 * The look of the elements. Pages may set the properties that begin with `--notifier-`, and style parts. Colors follow
 * the page's color-scheme, and sides follow its direction.
 */

export const COMMON = /* css */ `
:host {
  --accent: var(--notifier-accent, light-dark(#4451d8, #9aa5ff));
  --surface: var(--notifier-surface, light-dark(#fff, #1d212c));
  --raised: var(--notifier-raised, light-dark(#f2f3f8, #282d3b));
  --line: var(--notifier-line, light-dark(#dfe2ea, #363c4d));
  --text: var(--notifier-text, light-dark(#1b1e28, #e9ebf2));
  --quiet: var(--notifier-quiet, light-dark(#5b6172, #a7aec0));
  --info: var(--notifier-info, light-dark(#2a63cc, #82b0ff));
  --success: var(--notifier-success, light-dark(#18753f, #5fd391));
  --warning: var(--notifier-warning, light-dark(#8f5b00, #efbb55));
  --error: var(--notifier-error, light-dark(#c22a2a, #ff8f8a));
  --critical: var(--notifier-critical, light-dark(#a3187c, #f694da));
  --badge: var(--notifier-badge, light-dark(#c9263a, #ff8a94));
  --on-badge: var(--notifier-on-badge, light-dark(#fff, #2b070b));
  --radius: var(--notifier-radius, 0.75rem);
  --shadow: 0 0.75rem 2.5rem light-dark(#1b1e2833, #0009), 0 0.1rem 0.4rem light-dark(#1b1e281f, #0006);
  color: var(--text);
  font: var(--notifier-font, 0.9375rem/1.45 system-ui, sans-serif);
  text-align: start;
}

:host([hidden]), [hidden] {
  display: none !important;
}

*, ::before, ::after {
  box-sizing: border-box;
}

ul, p {
  margin: 0;
  padding: 0;
  list-style: none;
}

/* A text has its own direction, and is aligned as the page is. */
[dir="auto"] {
  text-align: -webkit-match-parent;
  text-align: match-parent;
}

button, a {
  padding: 0;
  border: 0;
  border-radius: calc(var(--radius) / 2);
  background: none;
  color: inherit;
  font: inherit;
  text-align: inherit;
  text-decoration: none;
  cursor: pointer;
}

:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
}

svg {
  display: block;
  width: 1.25rem;
  height: 1.25rem;
  fill: none;
  stroke: currentColor;
  stroke-linecap: round;
  stroke-linejoin: round;
  stroke-width: 1.8;
}

.unseen {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

li {
  --tone: var(--info);
  position: relative;
  display: flex;
  gap: 0.7rem;
  overflow-wrap: anywhere;
}

[data-severity="success"] { --tone: var(--success); }
[data-severity="warning"] { --tone: var(--warning); }
[data-severity="error"] { --tone: var(--error); }
[data-severity="critical"] { --tone: var(--critical); }

[part="severity"] {
  flex: none;
  margin-block-start: 0.05rem;
  color: var(--tone);
}

[part="content"] {
  flex: 1;
  min-width: 0;
}

[part="title"] {
  font-weight: 600;
}

[part="body"] {
  color: var(--quiet);
  white-space: pre-line;
}

[part="action"], [part="close"] {
  position: relative;
  flex: none;
  padding: 0.3rem;
  color: var(--quiet);
}

[part="action"]:hover, [part="close"]:hover {
  background: var(--raised);
  color: var(--text);
}

[part="action"] svg, [part="close"] svg {
  width: 1.15rem;
  height: 1.15rem;
}
`;

export const BELL = /* css */ `
:host {
  position: relative;
  display: inline-block;
}

[part="button"] {
  position: relative;
  padding: 0.5rem;
  border-radius: 50%;
}

[part="button"]:hover, [part="button"][aria-expanded="true"] {
  background: var(--raised);
}

[part="button"] svg {
  width: 1.5rem;
  height: 1.5rem;
}

[part="badge"] {
  position: absolute;
  inset-block-start: -0.05rem;
  inset-inline-start: 55%;
  min-width: 1.2rem;
  padding: 0 0.3rem;
  border: 2px solid var(--surface);
  border-radius: 1rem;
  background: var(--badge);
  color: var(--on-badge);
  font-size: 0.72rem;
  font-weight: 700;
  font-variant-numeric: tabular-nums;
  line-height: 1.15rem;
  text-align: center;
}

[part="panel"] {
  position: absolute;
  z-index: var(--notifier-z, 1000);
  inset-block-start: calc(100% + 0.4rem);
  inset-inline-end: 0;
  display: flex;
  flex-direction: column;
  width: min(var(--notifier-width, 25rem), 100vw - 1rem);
  max-height: var(--notifier-height, min(36rem, 100vh - 6rem));
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--surface);
  box-shadow: var(--shadow);
  translate: var(--shift, 0);
}

[part="panel"]:focus {
  outline: none;
}

[part="header"] {
  display: flex;
  align-items: center;
  justify-content: space-between;
  padding: 0.75rem 0.75rem 0 1rem;
}

[part="heading"] {
  font-size: 1.1em;
}

[part="inbox"] {
  flex: 1;
  min-height: 0;
}

@media (prefers-reduced-motion: no-preference) {
  [part="panel"] {
    animation: open 0.15s ease-out;
  }

  @keyframes open {
    from { opacity: 0; }
  }
}
`;

export const TOASTS = /* css */ `
:host {
  position: fixed;
  z-index: calc(var(--notifier-z, 1000) - 1);
  inset-block-end: 1rem;
  inset-inline-end: 1rem;
  width: min(var(--notifier-width, 22rem), 100vw - 2rem);
  pointer-events: none;
}

[part="list"] {
  display: flex;
  flex-direction: column-reverse;
  gap: 0.6rem;
}

li {
  padding-block: 0.8rem;
  padding-inline: 1.1rem 0.8rem;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--surface);
  box-shadow: var(--shadow);
  pointer-events: auto;
}

[part="body"] {
  display: -webkit-box;
  overflow: hidden;
  -webkit-box-orient: vertical;
  -webkit-line-clamp: 3;
}

li::before {
  content: "";
  position: absolute;
  inset-block: 0.75rem;
  inset-inline-start: 0.35rem;
  width: 0.22rem;
  border-radius: 1rem;
  background: var(--tone);
}

[part="waiting"] {
  width: fit-content;
  margin-block-start: 0.6rem;
  margin-inline: auto;
  padding: 0.15rem 0.8rem;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--surface);
  color: var(--quiet);
  box-shadow: var(--shadow);
}

a[part="title"]:hover {
  text-decoration: underline;
}

[part="action"] {
  align-self: start;
  margin-block-start: -0.25rem;
  margin-inline-end: -0.25rem;
}

@media (prefers-reduced-motion: no-preference) {
  li {
    animation: arrive 0.25s ease-out;
  }

  @keyframes arrive {
    from { opacity: 0; translate: 0 0.75rem; }
  }
}
`;
