// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/status"
)

// restFactor is how much longer a page rests than it takes to make, so that readers
// cost a fifth of a core at most.
const restFactor = 4

// maxRest bounds the rest: a busy machine makes a page slowly.
const maxRest = time.Second

// A page is what a handler answers, made once for all who wait for it. It must not
// depend on who asks.
type page struct {
	handler http.Handler
	ask     http.Header // to ask the handler with
	stock   *stock
	turn    chan struct{} // holds one element while the page is made

	mu    sync.Mutex // guards the fields below
	next  *copied    // not begun: who comes now waits for it
	ready time.Time  // when the page may be made again
}

func newPage(h http.Handler, ask http.Header, s *stock) *page {
	return &page{handler: h, ask: ask, stock: s, turn: make(chan struct{}, 1)}
}

// A copied page is what a handler answered.
type copied struct {
	done   chan struct{} // closed when the fields below are filled in
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header, WriteHeader and Write make it an http.ResponseWriter.
func (c *copied) Header() http.Header { return c.header }

func (c *copied) WriteHeader(code int) { c.code = code }

func (c *copied) Write(b []byte) (int, error) { return c.body.Write(b) }

// ServeHTTP answers with the page as it is at some time after the request came.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := p.copy(r)
	if err != nil {
		return // the reader is gone
	}
	for name, values := range c.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(c.body.Len()))
	reader := http.NewResponseController(w)
	p.stock.take(c, reader)
	defer p.stock.put(c, reader)
	w.WriteHeader(c.code)
	w.Write(c.body.Bytes())
}

// copy returns a copy that was begun after it was called.
func (p *page) copy(r *http.Request) (*copied, error) {
	ctx := r.Context()
	p.mu.Lock()
	if p.next == nil {
		p.next = &copied{done: make(chan struct{}), header: http.Header{}, code: http.StatusOK}
	}
	c := p.next
	p.mu.Unlock()

	select {
	case <-c.done:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	}
	select {
	case <-c.done: // by who had the turn before
		return c, nil
	default:
	}
	if err := p.rest(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.next == c {
		p.next = nil
	}
	p.mu.Unlock()
	p.fill(c, r)
	return c, nil
}

// rest waits until the page may be made again.
func (p *page) rest(ctx context.Context) error {
	p.mu.Lock()
	wait := time.Until(p.ready)
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// fill makes a copy.
func (p *page) fill(c *copied, r *http.Request) {
	// Another reader waits for it too, so the handler learns nothing about this one.
	ask := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: r.URL.Path}, Header: p.ask.Clone()}
	start := time.Now()
	p.handler.ServeHTTP(c, ask.WithContext(context.WithoutCancel(r.Context())))
	end := time.Now()
	p.mu.Lock()
	p.ready = end.Add(min(restFactor*end.Sub(start), maxRest))
	p.mu.Unlock()
	close(c.done)
}

// A variant is a form of a page that clients may ask for.
type variant struct{ zipped, openMetrics bool }

// header returns the header of a request for it.
func (v variant) header() http.Header {
	h := http.Header{"Accept-Encoding": {"identity"}}
	if v.zipped {
		h.Set("Accept-Encoding", "gzip")
	}
	if v.openMetrics {
		h.Set("Accept", status.OpenMetrics+";version=1.0.0")
	}
	return h
}

// A shared handler is another one whose answers are shared among those who ask at the same
// time. It has a page for each variant.
type shared map[variant]*page

func newShared(h http.Handler, s *stock) shared {
	out := shared{}
	for _, v := range []variant{{}, {zipped: true}, {openMetrics: true}, {true, true}} {
		out[v] = newPage(h, v.header(), s)
	}
	return out
}

// ServeHTTP answers with the page that the client understands.
func (s shared) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s[variant{zipped: takesGzip(r.Header), openMetrics: status.WantsOpenMetrics(r.Header)}].ServeHTTP(w, r)
}

// takesGzip reports whether a client understands compressed pages.
func takesGzip(h http.Header) bool {
	for _, v := range h.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(v, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
			if name == "gzip" && strings.TrimSpace(weight) != "q=0" {
				return true
			}
		}
	}
	return false
}
