// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cmd/internal/page"
	"github.com/heraldlb/herald/topology"
)

// get asks a handler for a path.
func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// run runs a page with an input until a test in fake time ends.
func run(t *testing.T, input func(time.Time) (topology.Input, bool)) (*page.Page, context.Context) {
	p := page.New(page.Options{Input: input, Pod: "c", Version: "v1", Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return p, ctx
}

// The JSON is that of the Topology, which heraldctl prints, zipped or not.
func TestTopologyIsThatOfHeraldctl(t *testing.T) {
	for _, services := range []int{0, 1, 45} {
		synctest.Test(t, func(t *testing.T) {
			in := inputOf(services)
			in.Unasked = append(in.Unasked, topology.Unasked{What: `"services":[]`, Error: `"at":"0001-01-01T00:00:00Z"`})
			p, _ := run(t, func(now time.Time) (topology.Input, bool) {
				in.At = now
				return in, true
			})
			plain := get(p.API(), "/api/v1/topology")
			zipped := get(p.API(), "/api/v1/topology", "Accept-Encoding", "br, gzip")
			if plain.Code != http.StatusOK || zipped.Header().Get("Content-Encoding") != "gzip" {
				t.Fatalf("%d %v", plain.Code, zipped.Header())
			}
			want, err := json.Marshal(topology.Build(in))
			if err != nil {
				t.Fatal(err)
			}
			z, err := gzip.NewReader(zipped.Body)
			if err != nil {
				t.Fatal(err)
			}
			unzipped, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []string{plain.Body.String(), string(unzipped)} {
				if diff := cmp.Diff(string(want), strings.ReplaceAll(got, "}\n", "}")); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			etag := plain.Header().Get("ETag")
			if again := get(p.API(), "/api/v1/topology", "If-None-Match", `"x", W/`+etag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
				t.Errorf("the same again is answered with %d and %d bytes", again.Code, again.Body.Len())
			}
			time.Sleep(2 * time.Minute) // another time is no other Topology
			if later := get(p.API(), "/api/v1/topology"); later.Header().Get("ETag") != etag {
				t.Error("time alone makes another Topology")
			}
			in.Class = "other"
			p.Wake()
			time.Sleep(2 * time.Second)
			if later := get(p.API(), "/api/v1/topology", "If-None-Match", etag); later.Code != http.StatusOK || later.Header().Get("ETag") == etag {
				t.Error("a change makes no other Topology")
			}
		})
	}
}

// While nobody looks nothing is made, however much happens, and what happens at once is
// shown at once.
func TestPageRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		p, _ := run(t, func(now time.Time) (topology.Input, bool) {
			made.Add(1)
			in := inputOf(2)
			in.At, in.Namespace = now, now.String() // each is another one
			return in, true
		})
		happen := func(d time.Duration) int64 {
			before := made.Load()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				p.Wake()
			}
			return made.Load() - before
		}
		if n := happen(10 * time.Minute); n != 0 {
			t.Errorf("%d Topologies for nobody", n)
		}
		get(p.API(), "/api/v1/topology")
		if n := happen(10 * time.Minute); n != 0 || made.Load() != 1 {
			t.Errorf("%d Topologies for one who looked once", made.Load())
		}
		ctx, leave := context.WithCancel(t.Context())
		l := listen(ctx, p, "")
		if n := happen(10 * time.Second); n < 8 || n > 11 {
			t.Errorf("%d Topologies in 10 s for one who follows", n)
		}
		leave()
		l.wait(t)
		before := made.Load()
		time.Sleep(time.Minute)
		if n := happen(time.Minute); n != 0 || made.Load() != before {
			t.Errorf("%d Topologies after the last one left", made.Load()-before)
		}
	})
}

// Until everything was read, the page says so.
func TestPageUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read atomic.Bool
		p, _ := run(t, func(now time.Time) (topology.Input, bool) {
			in := inputOf(1)
			in.At = now
			return in, read.Load()
		})
		for _, path := range []string{"/api/v1/topology", "/api/v1/why?subject=shop/web"} {
			if w := get(p.API(), path); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "not read everything") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		read.Store(true)
		p.Wake()
		time.Sleep(2 * time.Second)
		if w := get(p.API(), "/api/v1/topology"); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		w := get(p.API(), "/api/v1/why?subject=shop%2Fweb")
		var c topology.Chain
		if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil || c.Subject != "Service shop/web" {
			t.Errorf("why: %v, %s", err, w.Body)
		}
		if w := get(p.API(), "/api/v1/why?subject=shop/wep"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "did you mean") {
			t.Errorf("why of nothing: %d %s", w.Code, w.Body)
		}
	})
}

// BenchmarkTopology is how long the page takes to answer who asks first, with three nodes.
func BenchmarkTopology(b *testing.B) {
	for _, services := range []int{200, 5000} {
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			in := inputOf(services)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				p := page.New(page.Options{Input: func(now time.Time) (topology.Input, bool) {
					in.At = now
					return in, true
				}, Logger: slog.New(slog.DiscardHandler)})
				ctx, stop := context.WithCancel(b.Context())
				done := make(chan error)
				go func() { done <- p.Run(ctx) }()
				w := get(p.API(), "/api/v1/topology", "Accept-Encoding", "gzip")
				size = w.Body.Len()
				stop()
				if err := <-done; err != nil || w.Code != http.StatusOK {
					b.Fatal(err, w.Code)
				}
			}
			b.ReportMetric(float64(size), "sent-bytes")
			b.ReportMetric(held(b, in), "held-bytes")
		})
	}
}

// held returns how much memory a page holds while somebody looks.
func held(b *testing.B, in topology.Input) float64 {
	p := page.New(page.Options{Input: func(now time.Time) (topology.Input, bool) {
		in.At = now
		return in, true
	}, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() { done <- p.Run(ctx) }()
	get(p.API(), "/api/v1/topology", "Accept-Encoding", "gzip")
	runtime.GC()
	runtime.ReadMemStats(&after)
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}
