// SPDX-License-Identifier: Apache-2.0
// Signs, times and links that all views use.

import { h, s } from './dom.js';
import { now } from './store.js';

// docs is where the documentation is. It is a link: the page itself loads nothing from there.
const docs = 'https://github.com/heraldlb/herald/blob/main/docs/';

// troubleshooting are the IDs of problems that docs/troubleshooting.md explains. The others
// are reasons, and in docs/service-status.md.
export const troubleshooting = new Set([
  'NoConfiguration', 'ConfigRejected', 'ConfigAmbiguous', 'RefsUnresolved', 'Unlikely', 'OtherNamespace', 'NoController', 'NoLeader',
  'AgentAbsent', 'PoolExhausted', 'UnknownAnnotation', 'Degraded', 'FRR', 'MembersUnknown', 'DataPlaneNotReady', 'NodeError', 'NotInPool',
  'NotLoadBalancer', 'SessionDown',
]);

// docsOf leads to what explains a problem or a reason.
export function docsOf(id) {
  const page = troubleshooting.has(id) ? 'troubleshooting.md' : 'service-status.md';
  return h('a', { href: docs + page + '#' + encodeURIComponent(id), rel: 'noreferrer noopener', target: '_blank', class: 'docs', 'data-key': 'docs:' + id },
    id, h('span', { class: 'unseen' }, ' (documentation, opens in another tab)'));
}

// Each sign has a shape of its own, and a word.
const shapes = {
  ok: () => [s('circle', { cx: 8, cy: 8, r: 7 }), s('path', { class: 'mark', d: 'M4.6 8.3l2.3 2.4 4.5-5' })],
  part: () => [s('path', { d: 'M8 1.2L15.4 14.4H.6z' }), s('path', { class: 'mark', d: 'M8 6v4M8 12.1v.1' })],
  broken: () => [s('path', { d: 'M5 1h6l4 4v6l-4 4H5l-4-4V5z' }), s('path', { class: 'mark', d: 'M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2' })],
  none: () => [s('circle', { class: 'hollow', cx: 8, cy: 8, r: 6.2 }), s('path', { class: 'dash', d: 'M5 8h6' })],
  unknown: () => [s('circle', { class: 'hollow dotted', cx: 8, cy: 8, r: 6.2 }), s('path', { class: 'dash', d: 'M6.1 6.3c0-2.6 3.9-2.5 3.9-.1 0 1.6-2 1.6-2 3M8 11.4v.1' })],
};

const meanings = { ok: 'ok', part: 'works in part', broken: 'broken', none: 'not used', unknown: 'not known' };

// sign is one of ok, part, broken, none and unknown.
export function sign(kind, title) {
  return s('svg', { class: 'sign ' + kind, viewBox: '0 0 16 16', role: 'img', 'aria-label': title || meanings[kind] }, ...shapes[kind]());
}

// signAt is a sign within a picture.
export function signAt(kind, x, y, size) {
  return s('svg', { class: 'sign ' + kind, x, y, width: size, height: size, viewBox: '0 0 16 16', 'aria-hidden': 'true' }, ...shapes[kind]());
}

// signs of the states of Services and of links.
export const signOfState = {
  Announced: 'ok', Degraded: 'part', NotAnnounced: 'broken', NoAddress: 'broken', Other: 'none', Unknown: 'unknown',
};
export const wordOfState = {
  Announced: 'announced', Degraded: 'degraded', NotAnnounced: 'not announced', NoAddress: 'no address', Other: 'not Herald’s', Unknown: 'not known',
};
export const signOfLink = { ok: 'ok', part: 'part', broken: 'broken', '-': 'none', unknown: 'unknown' };

// counted is "1 node" or "2 nodes".
export function counted(n, one, more) {
  return n.toLocaleString('en') + ' ' + (n === 1 ? one : more || one + 's');
}

// span is a time in words: "14 m".
export function span(seconds) {
  if (seconds < 10 && seconds % 1) return (Math.round(seconds * 10) / 10) + ' s';
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return seconds + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
  if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + ' h ' + Math.floor(seconds % 3600 / 60) + ' min';
  return Math.floor(seconds / 86400) + ' d';
}

// since is how long something has been so: an element that keeps count.
export function since(time) {
  const at = Date.parse(time);
  if (!time || Number.isNaN(at)) return null;
  return h('time', { datetime: time, title: clock(time, true), 'data-since': String(at) }, span((now() - at) / 1000));
}

// tick brings what since has made up to date.
export function tick() {
  for (const e of document.querySelectorAll('time[data-since]')) {
    const text = span((now() - Number(e.dataset.since)) / 1000);
    if (e.textContent !== text) e.textContent = text;
  }
}

// clock is a time of the day, or a whole date.
export function clock(time, whole) {
  const d = new Date(time);
  const two = n => String(n).padStart(2, '0');
  const text = two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds());
  return whole ? d.getFullYear() + '-' + two(d.getMonth() + 1) + '-' + two(d.getDate()) + ' ' + text : text;
}

// command is a command line with a button that copies it.
export function command(text) {
  const button = h('button', {
    type: 'button', class: 'copy', 'data-key': 'copy:' + text, 'aria-label': 'Copy the command',
    on: { click: async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = 'copied';
      } catch {
        const range = document.createRange();
        range.selectNodeContents(line);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = 'selected';
      }
      setTimeout(() => { button.textContent = 'copy'; }, 1500);
    } },
  }, 'copy');
  const line = h('code', {}, h('bdi', {}, text));
  return h('span', { class: 'command' }, line, button);
}

// objectLink leads to the view of an object of a problem, if it has one.
export function objectLink(object) {
  const [kind, ...rest] = object.split('/');
  const of = { Service: 'service', Node: 'node', BGPPeer: 'peer', peer: 'peer', IPAddressPool: 'pool', pool: 'pool' }[kind];
  const label = h('bdi', { class: 'name' }, object);
  if (!of || !rest.length || rest[0] === 'all' || rest[0] === 'none') return label;
  return h('a', { href: '#/' + [of, rest.join('/')].map(encodeURIComponent).join('/'), 'data-key': 'object:' + object }, label);
}

// problem shows a problem with its cause, its cure and the command to run next.
export function problem(p, most = 8) {
  const objects = p.objects.slice(0, most).map((o, i) => [i ? ', ' : '', objectLink(o)]);
  if (p.objects.length > most) objects.push(' and ' + counted(p.objects.length - most, 'other'));
  const nodes = p.nodes && p.nodes.length ? [' on ', h('bdi', {}, listed(p.nodes, 6))] : [];
  return h('li', { class: 'problem ' + p.severity },
    sign(p.severity === 'error' ? 'broken' : 'part', p.severity),
    h('div', {},
      h('p', { class: 'about' }, objects, nodes, h('span', { class: 'id' }, docsOf(p.id))),
      h('p', { class: 'cause' }, h('bdi', {}, p.cause)),
      h('p', { class: 'cure' }, h('b', {}, 'Cure: '), h('bdi', {}, p.cure)),
      p.next && h('p', { class: 'next' }, command(p.next))));
}

// listed joins names, the first of many.
export function listed(names, most = 4) {
  if (!names || !names.length) return 'none';
  if (names.length <= most) return names.join(', ');
  return names.slice(0, most).join(', ') + ' and ' + (names.length - most) + ' more';
}
