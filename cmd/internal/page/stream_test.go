// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cmd/internal/page"
	"github.com/heraldlb/herald/topology"
)

// A listener follows the changes of a page.
type listener struct {
	header http.Header
	done   chan struct{}

	mu       sync.Mutex // guards the fields below
	code     int
	body     bytes.Buffer
	deadline time.Time
	stuck    bool // it reads nothing
}

// listen follows a page from an ID on, until the context is canceled.
func listen(ctx context.Context, p *page.Page, after string) *listener {
	l := &listener{header: http.Header{}, done: make(chan struct{}), code: http.StatusOK}
	l.start(ctx, p, after)
	return l
}

func (l *listener) start(ctx context.Context, p *page.Page, after string) {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/changes", nil).WithContext(ctx)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	go func() {
		defer close(l.done)
		p.API().ServeHTTP(l, r)
	}()
}

func (l *listener) wait(t *testing.T) {
	t.Helper()
	select {
	case <-l.done:
	case <-time.After(time.Minute):
		t.Error("the stream does not end")
	}
}

func (l *listener) Header() http.Header               { return l.header }
func (l *listener) Flush()                            {}
func (l *listener) SetReadDeadline(_ time.Time) error { return nil }

func (l *listener) SetWriteDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = at
	return nil
}

func (l *listener) WriteHeader(code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.code = code
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		time.Sleep(time.Until(l.deadline)) // as a connection whose buffers are full
		return 0, errors.New("deadline")
	}
	return l.body.Write(b)
}

func (l *listener) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.body.String()
}

// flipping returns an input in which a Service has and has not endpoints in turn, and what
// turns it.
func flipping() (func(time.Time) (topology.Input, bool), func()) {
	var mu sync.Mutex // guards n
	n := 0
	both := []topology.Input{inputOf(3), inputOf(3)}
	withdraw(&both[1], func(a topology.Announcement) bool { return a.Service.Name == "web" })
	both[1].Cluster.Endpoints[both[1].Cluster.Services[2].Key] = nil
	return func(now time.Time) (topology.Input, bool) {
			mu.Lock()
			defer mu.Unlock()
			in := both[n%2]
			in.At = now
			return in, true
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			n++
		}
}

// A listener that comes back gets what it has missed, and one from another time everything.
func TestStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		input, turn := flipping()
		p, ctx := run(t, input)
		first := listen(ctx, p, "")
		time.Sleep(5 * time.Second)
		leave, stop := context.WithCancel(ctx)
		away := listen(leave, p, "")
		time.Sleep(time.Second)
		turn()
		p.Wake()
		time.Sleep(5 * time.Second)
		stop()
		away.wait(t)
		if text := first.text(); !strings.HasPrefix(text, "event: reset\n") || strings.Count(text, "event: topology\n") != 2 || !strings.Contains(text, `"after":"NotAnnounced","reason":"the Service has no usable endpoint","bad":true`) {
			t.Errorf("the first gets\n%s", text)
		}
		turn()
		p.Wake()
		time.Sleep(5 * time.Second)
		if text := first.text(); !strings.Contains(text, `"after":"Announced","good":true,"tookSeconds":5}`) {
			t.Errorf("the first gets\n%s", text)
		}
		ids := regexp.MustCompile(`id: (\S+)`).FindAllStringSubmatch(away.text(), -1)
		back := listen(ctx, p, ids[len(ids)-1][1])
		time.Sleep(time.Second)
		if text := back.text(); strings.Contains(text, "reset") || strings.Contains(text, `"after":"NotAnnounced"`) || !strings.Contains(text, `"after":"Announced"`) {
			t.Errorf("who comes back gets\n%s", text)
		}
		for _, id := range []string{"OTHER123-1", "nonsense", strings.Split(ids[0][1], "-")[0] + "-9999999"} {
			stranger := listen(ctx, p, id)
			time.Sleep(time.Second)
			if text := stranger.text(); !strings.HasPrefix(text, "event: reset\n") || !strings.Contains(text, `"after":"NotAnnounced"`) {
				t.Errorf("%s gets\n%s", id, text)
			}
		}
		silent := len(first.text())
		time.Sleep(time.Minute)
		if text := first.text()[silent:]; strings.Count(text, ": \n\n") < 3 || strings.Contains(text, "event") {
			t.Errorf("in a quiet minute come %q", text)
		}
	})
}

// Listeners are bounded, and one that reads nothing ends without harm to the others.
func TestStreamBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		input, turn := flipping()
		p, ctx := run(t, input)
		stuck := &listener{header: http.Header{}, done: make(chan struct{}), stuck: true}
		stuck.start(ctx, p, "")
		var all []*listener
		for range 31 {
			all = append(all, listen(ctx, p, ""))
		}
		time.Sleep(time.Second)
		surplus := listen(ctx, p, "")
		surplus.wait(t)
		if surplus.code != http.StatusServiceUnavailable || surplus.header.Get("Retry-After") == "" {
			t.Errorf("one too many gets %d: %s", surplus.code, surplus.text())
		}
		for range 400 { // more than are remembered
			turn()
			p.Wake()
			time.Sleep(2 * time.Second)
		}
		select {
		case <-stuck.done:
		default:
			t.Error("who reads nothing stays")
		}
		for i, l := range all {
			if n := strings.Count(l.text(), `"what":"state"`); n != 400 {
				t.Fatalf("listener %d got %d of 400 changes", i, n)
			}
		}
		late := listen(ctx, p, "") // in the place of the stuck one
		time.Sleep(time.Second)
		if n := strings.Count(late.text(), "event: change"); n != 256 {
			t.Errorf("%d changes are remembered", n)
		}
	})
}
