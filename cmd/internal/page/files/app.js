// SPDX-License-Identifier: Apache-2.0
// The page: its bar, its views, and what happens when something changes.

import { h } from './dom.js';
import { state, follow, useToken } from './store.js';
import { sign, counted, problem, tick, clock, span, listed } from './words.js';
import { topologyView, choose, chosenBox } from './picture.js';
import { servicesView, serviceView } from './services.js';
import { nodesView, nodeView } from './nodes.js';
import { peersView, peerView } from './peers.js';
import { poolsView, poolView } from './pools.js';
import { changesView } from './changes.js';

const bar = document.getElementById('bar'), main = document.getElementById('main'), say = document.getElementById('say');

// Views by the first part of the address.
const views = {
  '': { title: 'Topology', draw: redraw => topologyView(redraw, width()) },
  problems: { title: 'Problems', draw: problemsView },
  services: { title: 'Services', draw: servicesView },
  service: { draw: serviceView }, nodes: { title: 'Nodes', draw: nodesView }, node: { draw: nodeView },
  peers: { title: 'Routers', draw: peersView }, peer: { draw: peerView }, pools: { title: 'Pools', draw: poolsView }, pool: { draw: poolView },
  changes: { title: 'Changes', draw: changesView },
};
const tabs = [
  ['', 'Topology', () => ''], ['problems', 'Problems', t => t.problems.length], ['services', 'Services', t => t.services.length], ['nodes', 'Nodes', t => t.nodes.length],
  ['peers', 'Routers', t => t.peers.length], ['pools', 'Pools', t => t.pools.length], ['changes', 'Changes', () => state.changes.length || ''],
];
const parents = { service: 'services', node: 'nodes', peer: 'peers', pool: 'pools' };

function width() { return Math.min(main.clientWidth, 1600) - parseFloat(getComputedStyle(main).paddingLeft) * 2; }

// route returns the view and its subject that the address names.
function route() {
  let parts;
  try {
    parts = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch {
    parts = ['']; // it is no address of a view
  }
  const [view, ...rest] = parts;
  return { view: Object.hasOwn(views, view) ? view : '', subject: rest.length ? rest.join('/') : undefined };
}

let drawn = '';      // address of what is shown
let queued = false;

// redraw draws everything anew, once for all calls until the next frame.
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    draw();
  });
}

function draw() {
  const { view, subject } = route();
  const focus = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : undefined;
  const caret = document.activeElement && 'selectionStart' in document.activeElement ? document.activeElement.selectionStart : null;
  const scroll = [scrollX, scrollY], inner = [...main.querySelectorAll('.side, .scroll')].map(e => [e.scrollLeft, e.scrollTop]);
  drawBar(view);
  const moved = drawn !== location.hash;
  drawn = location.hash;
  if (state.link === 'denied') main.replaceChildren(tokenForm());
  else if (!state.topology) main.replaceChildren(h('p', { class: 'empty' }, state.error ? state.error + '…' : 'Loading…'));
  else {
    try {
      main.replaceChildren(views[view].draw(redraw, subject));
    } catch (err) { // the views go by the JSON of this version
      main.replaceChildren(h('p', { class: 'empty' }, sign('broken'), ' This view cannot be drawn: ' + err.message));
      console.error(err);
    }
  }
  document.title = (state.topology && errors() ? '(' + errors() + ') ' : '') + (subject || views[view].title || '') + ' – Herald';
  if (moved) {
    scrollTo(0, 0);
    if (focus !== undefined || document.activeElement === document.body) main.focus({ preventScroll: true });
  } else {
    scrollTo(...scroll);
    [...main.querySelectorAll('.side, .scroll')].forEach((e, i) => { if (inner[i]) [e.scrollLeft, e.scrollTop] = inner[i]; });
    if (focus) refocus(focus, caret);
  }
}

// refocus gives the focus back to the element that took the place of the one that had it.
function refocus(key, caret) {
  for (const e of document.querySelectorAll('[data-key]')) {
    if (e.dataset.key !== key) continue;
    e.focus({ preventScroll: true });
    if (caret !== null && 'setSelectionRange' in e) e.setSelectionRange(caret, caret);
    return;
  }
}

function errors() { return state.topology.problems.filter(p => p.severity === 'error').length; }

function drawBar(view) {
  const t = state.topology;
  const current = parents[view] || view;
  bar.replaceChildren(h('div', { class: 'bar' },
    h('a', { class: 'brand', href: '#/', 'data-key': 'brand' }, h('img', { src: 'icon.svg', alt: '' }), 'Herald', t && h('span', { class: 'where' }, t.namespace)),
    h('nav', { class: 'tabs', 'aria-label': 'Views' }, tabs.map(([id, text, count]) => h('a', { href: '#/' + id, 'aria-current': id === current ? 'page' : null, 'data-key': 'tab:' + id }, text,
      t && h('span', { class: 'n' + (id === 'problems' && errors() ? ' bad' : '') }, count(t).toLocaleString('en'))))),
    h('div', { class: 'live', id: 'live' }, liveWords(), themeButton())),
  ...[banner()].filter(Boolean));
  const spoken = state.link === 'lost' ? 'The connection is lost.' : t ? counted(t.problems.length, 'problem') : '';
  if (say.textContent !== spoken) say.textContent = spoken;
}

function liveWords() {
  const t = state.topology;
  switch (state.link) {
    case 'live': return [sign('ok', 'live'), h('span', { title: 'Last change ' + clock(t.at, true) + (state.about ? ', controller ' + state.about.pod + ' ' + state.about.version : '') }, 'live, as of ' + clock(t.at))];
    case 'lost': return [sign('broken', 'not connected'), 'not connected'];
    case 'denied': return [sign('part', 'a token is needed'), 'a token is needed'];
  }
  return [sign('unknown', 'connecting'), 'connecting…'];
}

// banner says what limits what is shown.
function banner() {
  const t = state.topology;
  if (state.link === 'lost') {
    return h('div', { class: 'banner' }, h('p', {}, sign('broken'), h('span', {}, 'Not connected for ' + span((Date.now() - state.lost) / 1000) + ': ', h('bdi', {}, state.error), t ? '. What is shown is of ' + clock(t.at) + '.' : '.')));
  }
  if (!t || state.link === 'denied') return null;
  const { pod } = state.about || {};
  const standby = t.controllers.some(c => c.pod === pod && !c.leading);
  const leader = t.controllers.find(c => c.leading);
  if (standby) {
    return h('div', { class: 'banner' }, h('p', {}, sign('part'), h('span', {}, 'This controller is on standby and reads less than the leading one', leader ? [', ', h('bdi', {}, leader.pod)] : '', '. ', h('code', {}, 'heraldctl web'), ' opens the page of the leading one.')));
  }
  return null;
}

function themeButton() {
  const root = document.documentElement, order = ['', 'light', 'dark'];
  const now = root.dataset.theme || '';
  return h('button', { type: 'button', class: 'theme', 'data-key': 'theme', 'aria-label': 'Colours: ' + (now || 'as the system'), title: 'Colours', on: { click: () => {
    const next = order[(order.indexOf(now) + 1) % order.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    localStorage.setItem('herald-theme', next);
    redraw();
  } } }, now || 'auto');
}

function problemsView() {
  const t = state.topology;
  const bad = errors();
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, sign(bad ? 'broken' : t.problems.length ? 'part' : 'ok'), h('h1', {}, t.problems.length ? counted(t.problems.length, 'problem') : 'No problem was found'),
      h('span', { class: 'more' }, bad ? counted(bad, 'error') + ', ' + counted(t.problems.length - bad, 'warning') : '')),
    h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, 'Configuration'), h('span', { class: 'more' }, h('bdi', {}, t.config.source), t.config.version ? [', version ', h('bdi', {}, t.config.version)] : '')),
      h('dl', { class: 'facts pad' }, [['In force', t.config.loaded ? 'yes' : 'no'], ['Error', t.config.error && h('bdi', {}, t.config.error)], ['Notice', t.config.notice && h('bdi', {}, t.config.notice)],
        ['Controllers', t.controllers.map((c, i) => [i ? ', ' : '', h('bdi', {}, c.pod), c.leading ? ' (leading)' : c.ready ? ' (standby)' : ' (not ready)'])],
        ['Not asked', (t.unasked || []).length ? h('ul', {}, grouped(t.unasked).map(([error, what]) => h('li', {}, h('bdi', {}, listed(what, 6)), ': ', h('bdi', {}, error)))) : null],
      ].filter(([, v]) => v).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]))),
    t.problems.length > 0 && h('section', { class: 'sheet' }, h('ul', {}, t.problems.slice(0, 200).map(p => problem(p, 12))), t.problems.length > 200 && h('p', { class: 'after' }, 'and ' + (t.problems.length - 200) + ' more')));
}

// grouped puts together what could not be asked for the same reason.
function grouped(unasked) {
  const by = new Map();
  for (const u of unasked) by.set(u.error, [...(by.get(u.error) || []), u.what]);
  return [...by];
}

function tokenForm() {
  const input = h('input', { type: 'password', id: 'token', autocomplete: 'off', spellcheck: 'false', 'data-key': 'token' });
  return h('form', { class: 'token sheet pad', on: { submit: event => {
    event.preventDefault();
    useToken(input.value);
  } } },
  h('p', {}, 'This page shows what is in the cluster to owners of a token who may ', h('code', {}, 'get'), ' the path ', h('code', {}, '/herald/page'), '.'),
  h('p', {}, h('label', { for: 'token' }, 'Token'), input),
  h('p', { class: 'note' }, state.error ? ['The controller says: ', h('bdi', {}, state.error), '. '] : '', h('code', {}, 'kubectl -n metallb-system create token NAME'), ' makes one of a service account. It is kept in this tab alone.'),
  h('button', { type: 'submit', class: 'button' }, 'Open'));
}

// Keys: / goes to the filter, Escape shows all, g and a letter goes to a view.
let g = false;
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches && event.target.matches('input, select, textarea');
  if (event.key === 'Escape') {
    if (typing) event.target.blur();
    else if (chosenBox()) {
      choose('');
      redraw();
    }
    return;
  }
  if (typing) return;
  if (event.key === '/') {
    const filter = document.querySelector('input[type="search"]');
    if (filter) {
      filter.focus();
      event.preventDefault();
    }
  } else if (g) {
    const to = { t: '', p: 'problems', s: 'services', n: 'nodes', r: 'peers', o: 'pools', c: 'changes' }[event.key];
    if (to !== undefined) location.hash = '#/' + to;
  }
  g = event.key === 'g';
});

document.getElementById('skip').addEventListener('click', event => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', draw);
let last = 0;
addEventListener('resize', () => {
  if (main.clientWidth !== last) redraw();
  last = main.clientWidth;
});
setInterval(() => {
  tick();
  if (state.link === 'lost') drawBar(route().view);
}, 1000);

const theme = localStorage.getItem('herald-theme');
if (theme) document.documentElement.dataset.theme = theme;
follow(redraw);
