// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowPage makes a page in a time, which says how often it was made.
func slowPage(takes time.Duration) (h http.Handler, times *[]time.Time) {
	times = new([]time.Time)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*times = append(*times, time.Now())
		time.Sleep(takes)
		fmt.Fprintf(w, "%d %s", len(*times), r.Header.Get("Accept-Encoding"))
	}), times
}

func ask(h http.Handler, ctx context.Context, coding string) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/status", nil)
	r.Header.Set("Accept-Encoding", coding)
	h.ServeHTTP(w, r)
	return w.Body.String()
}

// Readers who come while a page is made share the next one, which shows nothing older
// than their request. The page is made for a fifth of the time at most.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 100 * time.Millisecond
		slow, times := slowPage(takes)
		h := newShared(slow, &stock{most: maxStock})
		start := time.Now()
		var all sync.WaitGroup
		read := func(want string) {
			all.Go(func() {
				if got := ask(h, t.Context(), "identity"); got != want {
					t.Errorf("read %q, want %q", got, want)
				}
			})
		}
		read("1 identity")
		synctest.Wait()
		time.Sleep(takes / 2)
		for range 100 {
			read("2 identity")
		}
		all.Wait()
		if len(*times) != 2 {
			t.Fatalf("made %d times for 101 readers, want twice", len(*times))
		}
		if rest := (*times)[1].Sub(start); rest != takes+restFactor*takes {
			t.Errorf("made again after %v, want %v", rest, takes+restFactor*takes)
		}
		// After a quiet time nobody waits.
		time.Sleep(time.Minute)
		begin := time.Now()
		if got := ask(h, t.Context(), "identity"); got != "3 identity" || time.Since(begin) != takes {
			t.Errorf("read %q after %v", got, time.Since(begin))
		}
	})
}

// A reader who goes away leaves the page to the others.
func TestSharedGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, _ := slowPage(time.Second)
		h := newShared(slow, &stock{most: maxStock})
		var all sync.WaitGroup
		all.Go(func() { ask(h, t.Context(), "") })
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		for range 3 {
			all.Go(func() {
				if got := ask(h, ctx, ""); got != "" {
					t.Errorf("who is gone reads %q", got)
				}
			})
		}
		all.Go(func() {
			if got := ask(h, t.Context(), ""); got != "2 identity" {
				t.Errorf("who stays reads %q", got)
			}
		})
		synctest.Wait()
		leave()
		all.Wait()
	})
}

func TestSharedCodings(t *testing.T) {
	plain, _ := slowPage(0)
	for coding, want := range map[string]string{
		"": "identity", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0": "identity", "zstd": "identity",
	} {
		if got := ask(newShared(plain, &stock{most: maxStock}), t.Context(), coding); got[len(got)-len(want):] != want {
			t.Errorf("Accept-Encoding %q: %q, want %s", coding, got, want)
		}
	}
}

// Who understands OpenMetrics gets another page than who does not.
func TestSharedOpenMetrics(t *testing.T) {
	asks := 0
	h := newShared(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks++
		fmt.Fprint(w, r.Header.Get("Accept-Encoding"), " ", r.Header.Get("Accept"))
	}), &stock{most: maxStock})
	for accept, want := range map[string]string{
		"":          "gzip ",
		"text/html": "gzip ",
		"application/openmetrics-text;version=0.0.1;q=0.9,text/plain": "gzip application/openmetrics-text;version=1.0.0",
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("Accept", accept)
		h.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("Accept %q: the handler was asked %q, want %q", accept, got, want)
		}
	}
	if asks != 3 {
		t.Errorf("the handler was asked %d times, want 3", asks)
	}
}

// A deadline is a ResponseWriter whose reader can be cut off.
type deadline struct {
	http.ResponseWriter
	cut bool
}

func (d *deadline) SetWriteDeadline(at time.Time) error {
	d.cut = at.Before(time.Now())
	return nil
}

// Too many copies cut off the readers of the oldest one.
func TestStock(t *testing.T) {
	s := &stock{most: 100}
	var copies []*copied
	var readers []*deadline
	var controllers []*http.ResponseController
	for i := range 4 {
		c := &copied{}
		c.body.Write(make([]byte, 40))
		d := &deadline{ResponseWriter: httptest.NewRecorder()}
		copies, readers, controllers = append(copies, c), append(readers, d), append(controllers, http.NewResponseController(d))
		s.take(c, controllers[i])
	}
	for i, want := range []bool{true, true, false, false} {
		if readers[i].cut != want {
			t.Errorf("the reader of copy %d is cut off: %v, want %v", i, readers[i].cut, want)
		}
	}
	for i, c := range copies {
		s.put(c, controllers[i])
	}
	if s.size != 0 || len(s.copies) != 0 {
		t.Errorf("%d bytes in %d copies remain", s.size, len(s.copies))
	}
	// One page is served, however large it is.
	large := &copied{}
	large.body.Write(make([]byte, 1000))
	d := &deadline{ResponseWriter: httptest.NewRecorder()}
	s.take(large, http.NewResponseController(d))
	if d.cut {
		t.Error("the only page is cut off")
	}
}
