// SPDX-License-Identifier: Apache-2.0
// Elements. Texts of others become text nodes, and nothing else.

const svgSpace = 'http://www.w3.org/2000/svg';

// h makes an HTML element. Properties are attributes; "on" has listeners; "value" and
// "checked" are set as such.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s makes an SVG element.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(svgSpace, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    } else if (name === 'value' || name === 'checked' || name === 'open') {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// name shows a name of somebody else's: it cannot change the direction of what is around it.
export function name(text, props) {
  return h('bdi', { class: 'name', ...props }, text);
}

// code shows an address or a command.
export function code(text, props) {
  return h('code', props, h('bdi', {}, text));
}

// isolated is a text in SVG that cannot change the direction of what is around it.
export function isolated(text) {
  return '\u2068' + text + '\u2069';
}

// clip shortens a text to so many characters.
export function clip(text, most) {
  const all = Array.from(text);
  return all.length <= most ? text : all.slice(0, Math.max(1, most - 1)).join('') + '…';
}

// link leads to another view.
export function link(to, ...children) {
  return h('a', { href: '#/' + to.map(encodeURIComponent).join('/'), 'data-key': 'link:' + to.join('/') }, ...children);
}
