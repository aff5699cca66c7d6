// SPDX-License-Identifier: Apache-2.0
// The topology as boxes in four columns, and the edges between them. It draws nothing.

import { signOfState, wordOfState, counted } from './words.js';

export const collapse = 60; // with more Services, one box stands for those of a pool and namespace
const mostBoxes = 60;       // of a column
const worst = ['ok', 'none', 'unknown', 'part', 'broken'];

// benign are reasons for which a node does not announce, though all is well.
const benign = new Set(['NotOwner', 'NodeNotSelected', 'Superseded', 'HandingOver', 'NotInPool']);

export function worse(a, b) { return worst.indexOf(a) > worst.indexOf(b) ? a : b; }

// usage says how much of a pool is in use.
export function usage(p) {
  const part = (used, total) => total === null || total === undefined || String(total) === '0' ? '' : used.toLocaleString('en') + ' of ' + big(total);
  const four = part(p.inUseIPv4, p.totalIPv4), six = part(p.inUseIPv6, p.totalIPv6);
  return [four, six && four ? six + ' IPv6' : six].filter(Boolean).join(', ') || 'no addresses';
}

function big(total) {
  const n = Number(total);
  if (n <= 1 << 20) return n.toLocaleString('en');
  const power = Math.log2(n);
  return Number.isInteger(power) ? '2^' + power : n.toExponential(2);
}

export function full(p) {
  const is = (total, used) => Number(total || 0) > 0 && Number(total) <= used;
  return is(p.totalIPv4, p.inUseIPv4 + (p.reservedIPv4 || 0) + (p.retainedIPv4 || 0)) ||
    is(p.totalIPv6, p.inUseIPv6 + (p.reservedIPv6 || 0) + (p.retainedIPv6 || 0));
}

// problemsBy returns the worst severity of problems by object.
function problemsBy(t) {
  const out = new Map();
  for (const p of t.problems) {
    for (const o of p.objects) {
      const kind = p.severity === 'error' ? 'broken' : 'part';
      out.set(o, worse(out.get(o) || 'ok', kind));
    }
  }
  return out;
}

// nodeSign says how a node is.
export function nodeSign(t, n) {
  let sign = problemsBy(t).get('Node/' + n.name) || 'ok';
  if (!n.agent.running) sign = worse(sign, 'broken');
  if (n.refusal || n.drain) sign = worse(sign, 'part');
  return sign;
}

// sessionSign says how a session is.
export function sessionSign(s) {
  if (!s.wanted) return 'none';
  if (s.up) return 'ok';
  return s.from === 'rules' ? 'unknown' : 'broken';
}

export const edgeOfSign = { ok: 'confirmed', broken: 'refused', unknown: 'unknown' };

// build returns {columns, edges, boxes}. Each box has the names of what it stands for.
export function build(t) {
  const m = { columns: [[], [], [], []], boxes: new Map(), edges: new Map(), collapsed: t.services.length > collapse };
  const problems = problemsBy(t);
  const add = (column, box) => {
    m.columns[column].push(box);
    m.boxes.set(box.id, box);
  };
  for (const p of t.pools) {
    let sign = worse(problems.get('IPAddressPool/' + p.name) || 'ok', problems.get('pool/' + p.name) || 'ok');
    if (full(p)) sign = worse(sign, 'part');
    add(0, { id: 'pool/' + p.name, kind: 'pool', name: p.name, title: p.name, sub: usage(p) + (full(p) ? ', full' : ''), sign });
  }
  for (const n of t.nodes) {
    const remark = !n.agent.running ? 'agent does not run' : n.refusal ? n.refusal : n.drain ? 'drains' : counted(n.services, 'Service');
    add(2, { id: 'node/' + n.name, kind: 'node', name: n.name, title: n.name, sub: remark, sign: nodeSign(t, n) });
  }
  for (const p of t.peers) {
    const sign = p.wanted === 0 ? 'none' : p.up === p.wanted ? 'ok' : p.sessions.every(s => !s.wanted || s.from === 'rules') ? 'unknown' : p.up ? 'part' : 'broken';
    add(3, { id: 'peer/' + p.name, kind: 'peer', name: p.name, title: p.name, sub: p.address + ' · AS ' + p.asn, extra: p.up + '/' + p.wanted + ' up', sign });
  }
  const lan = { id: 'lan', kind: 'lan', name: 'LAN', title: 'LAN', sub: 'ARP and NDP', sign: 'ok' };
  if (t.services.some(s => (s.announcers || []).some(a => a.protocol === 'layer2') || (s.verdicts || []).some(v => v.protocol === 'layer2' && v.announce))) add(3, lan);
  const groups = new Map();
  for (const svc of t.services) {
    const sign = signOfState[svc.state] || 'unknown';
    if (!m.collapsed) {
      const addrs = svc.addresses.map(a => a.address);
      const sub = svc.state === 'Announced' ? addrs.join(', ') : wordOfState[svc.state] + (addrs.length ? ' · ' + addrs.join(', ') : '');
      const box = { id: 'service/' + svc.name, kind: 'service', name: svc.name, title: svc.name, sub, sign };
      add(1, box);
      connect(m, svc, box.id);
      continue;
    }
    const pool = svc.addresses.length ? svc.addresses[0].pool || 'no pool' : 'no address';
    const space = svc.name.split('/')[0];
    const id = 'group/' + pool + '/' + space;
    let g = groups.get(id);
    if (!g) {
      g = { id, kind: 'group', name: space, pool, title: space, sign: 'ok', count: 0, bad: 0, members: [] };
      groups.set(id, g);
    }
    g.count++;
    if (sign === 'broken' || sign === 'part') g.bad++;
    g.sign = worse(g.sign, sign);
    g.members.push(svc.name);
    connect(m, svc, id);
  }
  const byWorst = (a, b) => worst.indexOf(b.sign) - worst.indexOf(a.sign) || (a.pool < b.pool ? -1 : a.pool > b.pool ? 1 : b.count - a.count || (a.id < b.id ? -1 : 1));
  for (const g of [...groups.values()].sort(byWorst)) {
    g.sub = counted(g.count, 'Service') + (g.bad ? ', ' + g.bad + ' not as wanted' : '');
    g.extra = g.pool;
    add(1, g);
  }
  for (const p of t.peers) {
    for (const ses of p.sessions) {
      if (ses.wanted) edge(m, 'node/' + ses.node, 'peer/' + p.name, edgeOfSign[sessionSign(ses)]);
    }
  }
  return limit(m);
}

// edge adds an edge, or makes one that is there count for more.
function edge(m, from, to, kind) {
  const id = from + ' ' + to;
  let e = m.edges.get(id);
  if (!e) {
    e = { id, from, to, counts: {} };
    m.edges.set(id, e);
  }
  e.counts[kind] = (e.counts[kind] || 0) + 1;
}

// kindOf is how an edge is drawn: by the worst of what it stands for.
export function kindOf(e) {
  for (const kind of ['refused', 'wanted', 'confirmed', 'unknown', 'gives']) if (e.counts[kind]) return kind;
  return 'unknown';
}

// connect adds the edges of a Service, from the pool and to the nodes.
function connect(m, svc, id) {
  const pools = new Set(svc.addresses.map(a => a.pool).filter(Boolean));
  for (const p of pools) if (m.boxes.has('pool/' + p)) edge(m, 'pool/' + p, id, 'gives');
  for (const [node, kind] of nodesOf(svc)) {
    edge(m, id, 'node/' + node, kind);
  }
  for (const a of svc.announcers || []) if (a.protocol === 'layer2') edge(m, 'node/' + a.node, 'lan', 'confirmed');
  for (const v of svc.verdicts || []) if (v.protocol === 'layer2' && v.announce && !v.confirmed) for (const n of v.nodes) edge(m, 'node/' + n, 'lan', 'wanted');
}

// nodesOf returns how each node stands to a Service.
export function nodesOf(svc) {
  const order = { unknown: 0, refused: 1, wanted: 2, confirmed: 3 };
  const out = new Map();
  const note = (node, kind) => {
    const had = out.get(node);
    if (!had || order[kind] > order[had]) out.set(node, kind);
  };
  for (const a of svc.announcers || []) note(a.node, 'confirmed');
  const faulty = svc.state === 'NotAnnounced' || svc.state === 'Degraded';
  for (const v of svc.verdicts || []) {
    for (const node of v.nodes) {
      if (v.announce) note(node, v.confirmed ? 'confirmed' : 'wanted');
      else if (faulty && !benign.has(v.reason) && !(v.reason === 'AgentAbsent' && svc.state === 'Degraded')) note(node, 'refused');
    }
  }
  return out;
}

// path returns the IDs of the boxes that belong to one: what it depends on, and what depends
// on it.
export function path(t, m, id) {
  const on = new Set([id]);
  const box = m.boxes.get(id);
  if (!box) return on;
  const take = svc => {
    const shown = m.collapsed ? [...m.columns[1]].find(g => g.members && g.members.includes(svc.name)) : m.boxes.get('service/' + svc.name);
    if (shown) on.add(shown.id);
    for (const a of svc.addresses) if (a.pool) on.add('pool/' + a.pool);
    for (const node of nodesOf(svc).keys()) on.add('node/' + node);
    for (const end of endsOf(svc)) on.add(end);
  };
  const all = f => {
    for (const svc of t.services) if (f(svc)) take(svc);
  };
  switch (box.kind) {
    case 'service': all(svc => svc.name === box.name); break;
    case 'group': {
      const members = new Set(box.members);
      all(svc => members.has(svc.name));
      break;
    }
    case 'pool': all(svc => svc.addresses.some(a => a.pool === box.name)); break;
    case 'node':
      all(svc => nodesOf(svc).has(box.name));
      for (const x of [...on]) if (x.startsWith('node/') && x !== id) on.delete(x);
      for (const p of t.peers) {
        const its = p.sessions.find(ses => ses.node === box.name);
        if (its && its.wanted) on.add('peer/' + p.name);
        else on.delete('peer/' + p.name);
      }
      break;
    default: // a peer, or the LAN
      all(svc => endsOf(svc).has(id));
      for (const x of [...on]) if ((x.startsWith('peer/') || x === 'lan') && x !== id) on.delete(x);
      for (const p of t.peers) if (p.name === box.name && box.kind === 'peer') for (const ses of p.sessions) if (ses.wanted) on.add('node/' + ses.node);
  }
  return on;
}

// endsOf returns the peers and the LAN that a Service is to be announced to.
function endsOf(svc) {
  const out = new Set();
  for (const a of [...(svc.announcers || []), ...(svc.verdicts || []).filter(v => v.announce)]) {
    if (a.protocol === 'layer2') out.add('lan');
    for (const p of a.peers || []) out.add('peer/' + p);
  }
  return out;
}

// limit leaves out boxes beyond what a picture can show: the well ones first.
function limit(m) {
  m.columns = m.columns.map((column, i) => {
    if (column.length <= mostBoxes) return column;
    const keep = new Set([...column].sort((a, b) => worst.indexOf(b.sign) - worst.indexOf(a.sign)).slice(0, mostBoxes - 1).map(b => b.id));
    const rest = column.filter(b => !keep.has(b.id));
    for (const b of rest) m.boxes.delete(b.id);
    const more = { id: 'more/' + i, kind: 'more', column: i, title: counted(rest.length, 'more', 'more'), sub: 'in the list', sign: rest.reduce((x, b) => worse(x, b.sign), 'ok') };
    m.boxes.set(more.id, more);
    return [...column.filter(b => keep.has(b.id)), more];
  });
  for (const [id, e] of m.edges) if (!m.boxes.has(e.from) || !m.boxes.has(e.to)) m.edges.delete(id);
  return m;
}
