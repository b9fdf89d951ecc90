/** The look of the inbox; `styles.js` has that of all elements. */

export const INBOX = /* css */ `
:host {
  display: flex;
  flex-direction: column;
  min-height: 6rem;
  border-radius: var(--radius);
  background: var(--surface);
}

[part="bar"] {
  display: flex;
  flex-wrap: wrap;
  gap: 0.3rem;
  align-items: center;
  justify-content: space-between;
  padding: 0.6rem 0.75rem;
  border-block-end: 1px solid var(--line);
  font-size: 0.875em;
}

[part="filters"] {
  display: flex;
}

[part="filter"] {
  padding: 0.25rem 0.55rem;
  color: var(--quiet);
}

[part="filter"]:hover {
  color: var(--text);
}

[part="filter"][aria-pressed="true"] {
  background: var(--raised);
  color: var(--text);
  font-weight: 600;
}

[part="read-all"], [part="retry"] {
  padding: 0.25rem 0.3rem;
  color: var(--accent);
  font-weight: 500;
}

[part="read-all"]:hover, [part="retry"]:hover {
  text-decoration: underline;
}

[part="trouble"] {
  display: flex;
  gap: 0.5rem;
  align-items: baseline;
  justify-content: space-between;
  padding-inline: 1rem;
  color: var(--warning);
  font-size: 0.9em;
}

[part="trouble"] > :not(:empty) {
  margin-block-start: 0.6rem;
}

[part="scroller"] {
  flex: 1;
  max-height: var(--notifier-list-height, none);
  overflow-y: auto;
  overscroll-behavior: contain;
  border-radius: 0 0 var(--radius) var(--radius);
}

[part="scroller"]:focus {
  outline: none;
}

li {
  padding: 0.75rem 1rem;
}

li + li {
  border-block-start: 1px solid var(--line);
}

li:hover {
  background: color-mix(in srgb, var(--raised) 55%, transparent);
}

[part~="unread"] {
  background: color-mix(in srgb, var(--accent) 6%, transparent);
}

[part="title"]::after {
  content: "";
  position: absolute;
  inset: 0;
}

[part="title"]:focus-visible {
  outline: none;
}

[part="title"]:focus-visible::after {
  border-radius: calc(var(--radius) / 2);
  outline: 2px solid var(--accent);
  outline-offset: -3px;
}

li:not([part~="unread"]) [part="title"] {
  font-weight: 500;
}

[part="dot"] {
  position: absolute;
  inset-block-start: 1.2rem;
  inset-inline-start: 0.3rem;
  border: 0.22rem solid var(--accent);
  border-radius: 50%;
}

[part="meta"] {
  display: flex;
  gap: 0.75rem;
  margin-block-start: 0.15rem;
  color: var(--quiet);
  font-size: 0.85em;
}

[part="actions"] {
  display: flex;
  flex: none;
  align-self: start;
}

@media (hover: hover) {
  [part="actions"] {
    position: absolute;
    inset-block-start: 0.45rem;
    inset-inline-end: 0.5rem;
    border: 1px solid var(--line);
    border-radius: calc(var(--radius) / 2);
    background: var(--surface);
    opacity: 0;
  }

  li:hover [part="actions"], li:focus-within [part="actions"] {
    opacity: 1;
  }
}

[part="empty"] {
  padding: 2.5rem 1rem;
  color: var(--quiet);
  text-align: center;
}

[part="more"] {
  width: 100%;
  padding: 0.75rem;
  border-block-start: 1px solid var(--line);
  color: var(--accent);
  font-weight: 500;
  text-align: center;
}

[part="more"]:hover {
  background: var(--raised);
}

[part="more"]:focus-visible {
  outline-offset: -3px;
}
`;
