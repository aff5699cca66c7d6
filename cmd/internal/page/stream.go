// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxListeners bounds who follows changes at a time.
	maxListeners = 32
	// heartbeat is how often a listener is sent something. Proxies close connections on
	// which nothing comes.
	heartbeat = 15 * time.Second
	// sendTimeout is how long a listener may take to read what it is sent.
	sendTimeout = 15 * time.Second
)

// stream sends changes as they happen, as server-sent events: after the one that
// Last-Event-ID names, else those that are remembered. The event "topology" says that there
// is another Topology, and which. A listener that reads slowly gets later what has come in
// the meantime; nothing is kept for it.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	if !p.join() {
		w.Header().Set("Retry-After", "30")
		http.Error(w, fmt.Sprintf("%d others follow the changes: as many as there may be", maxListeners), http.StatusServiceUnavailable)
		return
	}
	defer p.leave()
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil { // the request was read; it lasts
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	l := &listener{page: p}
	l.seq, l.joined = p.seq(r.Header.Get("Last-Event-ID"))
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		text, more := l.next()
		if len(text) > 0 {
			if err := out.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
				return
			}
			if _, err := w.Write(text); err != nil || out.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-more:
		case <-beat.C:
			l.beat = true
		}
	}
}

// join counts a listener, if there is room.
func (p *Page) join() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listeners >= maxListeners {
		return false
	}
	p.listeners++
	p.looked = time.Now()
	p.nudge()
	return true
}

func (p *Page) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners--
	p.looked = time.Now()
}

// A listener follows changes.
type listener struct {
	page   *Page
	joined bool   // it knows the changes up to seq
	seq    int64  // the last one that it was sent
	etag   string // of the Topology that it knows
	beat   bool   // it is to be sent something
}

// next returns what a listener is to be sent now, and what is closed when there may be more.
func (l *listener) next() ([]byte, <-chan struct{}) {
	p := l.page
	p.mu.Lock()
	changes, all := p.history.after(l.seq)
	last, etag, more, err := p.history.last, "", p.made, p.err
	if p.shown != nil {
		etag = p.shown.etag
	}
	p.mu.Unlock()

	var b bytes.Buffer
	if !l.joined || !all { // its history starts empty
		fmt.Fprintf(&b, "event: reset\nid: %s\ndata: {}\n\n", p.id(last-int64(len(changes))))
		l.joined = true
	}
	for _, c := range changes {
		text, err := json.Marshal(c)
		if err != nil {
			continue // it has nothing that cannot be marshaled
		}
		fmt.Fprintf(&b, "event: change\nid: %s\ndata: %s\n\n", p.id(c.Seq), text)
	}
	l.seq = last
	switch {
	case err != nil:
		etag = ""
		fallthrough
	case etag != l.etag && etag != "":
		l.etag = etag
		text, _ := json.Marshal(map[string]string{"etag": etag}) // a text always can be
		fmt.Fprintf(&b, "event: topology\nid: %s\ndata: %s\n\n", p.id(last), text)
	case l.beat:
		b.WriteString(": \n\n")
	}
	l.beat = false
	return b.Bytes(), more
}
