// SPDX-License-Identifier: Apache-2.0
// What is known, and the connection to the controller that keeps it so.

export const state = {
  topology: null, etag: '', about: null, changes: [],
  link: 'loading', // live, lost or denied
  lost: 0,         // since when it is
  error: '',
};

const most = 256;       // changes that are kept
const silence = 40000;  // ms without a byte after which a connection counts as dead
const rest = 60000;     // ms that a hidden page stays connected

let changed = () => {};
let token = sessionStorage.getItem('herald-token') || '';
let skew = 0;           // of this machine's clock
let lastID = '';
let abort = null;       // ends the stream
let wakeUp = null;      // ends a pause

// follow calls a function after every change of the state, and begins to connect.
export function follow(f) {
  changed = f;
  run();
}

// now is the controller's time in ms.
export function now() { return Date.now() + skew; }

// useToken takes a bearer token, and tries again.
export function useToken(text) {
  token = text.trim();
  if (token) sessionStorage.setItem('herald-token', token);
  else sessionStorage.removeItem('herald-token');
  state.link = 'loading';
  changed();
  reconnect();
}

class Denied extends Error {}

async function ask(path, headers, signal) {
  const all = { ...headers };
  if (token) all.Authorization = 'Bearer ' + token;
  const answer = await fetch(path, { headers: all, cache: 'no-store', credentials: 'omit', redirect: 'error', signal });
  const date = Date.parse(answer.headers.get('Date') || '');
  if (!Number.isNaN(date) && Math.abs(date - Date.now()) > 2000) skew = date - Date.now();
  if (answer.status === 401 || answer.status === 403) throw new Denied((await answer.text()).trim());
  if (!answer.ok && answer.status !== 304) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer;
}

// explain asks why something works or not.
export async function explain(subject) {
  return (await ask('api/v1/why?subject=' + encodeURIComponent(subject))).json();
}

let loading = false, again = false;

// load gets the newest Topology, once for all calls that come meanwhile.
async function load() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    do {
      again = false;
      const answer = await ask('api/v1/topology', state.etag ? { 'If-None-Match': state.etag } : {});
      if (answer.status === 304) continue;
      state.topology = await answer.json();
      state.etag = answer.headers.get('ETag') || '';
    } while (again);
    state.link = 'live';
    state.error = '';
    state.lost = 0;
  } finally {
    loading = false;
  }
  changed();
}

// run stays connected for as long as the page is open.
async function run() {
  for (let failures = 0; ;) {
    try {
      if (!state.about) state.about = await (await ask('api/v1/about')).json();
      await stream(() => { failures = 0; });
      throw new Error('the controller ended the connection');
    } catch (err) {
      if (err instanceof Denied) {
        state.link = 'denied';
        state.error = err.message;
      } else if (state.link !== 'loading' || failures > 0) {
        if (!state.lost) state.lost = Date.now();
        state.link = 'lost';
        state.error = err.name === 'TypeError' ? 'the controller does not answer' : err.message;
      }
    }
    changed();
    failures++;
    const wait = state.link === 'denied' ? 3600000 : Math.min(1000 * 2 ** Math.min(failures - 1, 4), 10000);
    await new Promise(done => {
      wakeUp = done;
      setTimeout(done, document.hidden ? 3600000 : wait);
    });
    wakeUp = null;
    state.about = null; // another controller may answer now
  }
}

// reconnect ends the connection and every pause.
function reconnect() {
  if (abort) abort.abort();
  if (wakeUp) wakeUp();
}

// stream follows the changes until the connection ends.
async function stream(connected) {
  abort = new AbortController();
  const dead = { timer: 0 };
  const alive = () => {
    clearTimeout(dead.timer);
    dead.timer = setTimeout(() => abort.abort(), silence);
  };
  try {
    const answer = await ask('api/v1/changes', lastID ? { 'Last-Event-ID': lastID } : {}, abort.signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      alive();
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const events = text.split('\n\n');
      text = events.pop();
      let news = false;
      for (const e of events) news = take(e) || news;
      if (news) {
        connected();
        await load();
      } else {
        changed();
      }
    }
  } finally {
    clearTimeout(dead.timer);
    abort.abort(); // whoever fails in between leaves no connection
    abort = null;
  }
}

// take takes in an event, and returns whether there is another Topology.
function take(text) {
  let kind = '', data = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('event: ')) kind = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
    else if (line.startsWith('id: ')) lastID = line.slice(4);
  }
  switch (kind) {
    case 'reset':
      state.changes = [];
      break;
    case 'change':
      state.changes.push(JSON.parse(data));
      if (state.changes.length > most) state.changes.splice(0, state.changes.length - most);
      break;
    case 'topology':
      return JSON.parse(data).etag !== state.etag || state.link !== 'live';
  }
  return false;
}

// A page that nobody sees costs the controller nothing after a minute.
let hidden = 0;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(() => { if (abort) abort.abort(); }, rest);
  else if (wakeUp && state.link !== 'denied') wakeUp();
});
addEventListener('online', () => { if (wakeUp) wakeUp(); });
