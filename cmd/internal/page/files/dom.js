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

const pen = document.createElement('canvas').getContext('2d');
const fitted = new Map();

// fit shortens a text so that it is so many pixels wide at most, in a font of the page.
export function fit(text, most, font) {
  const key = Math.round(most) + font + text;
  if (fitted.has(key)) return fitted.get(key);
  if (fitted.size > 5000) fitted.clear();
  pen.font = font + ' ' + getComputedStyle(document.documentElement).fontFamily;
  let out = text;
  if (pen.measureText(text).width > most) {
    const all = Array.from(text.slice(0, 400));
    let low = 0, high = all.length;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (pen.measureText(all.slice(0, middle).join('') + '…').width <= most) low = middle;
      else high = middle - 1;
    }
    out = all.slice(0, low).join('') + '…';
  }
  fitted.set(key, out);
  return out;
}

// widthOf is how wide a text is in a font of the page.
export function widthOf(text, font) {
  pen.font = font + ' ' + getComputedStyle(document.documentElement).fontFamily;
  return pen.measureText(text.slice(0, 400)).width;
}

// link leads to another view.
export function link(to, ...children) {
  return h('a', { href: '#/' + to.map(encodeURIComponent).join('/'), 'data-key': 'link:' + to.join('/') }, ...children);
}
