// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// maxInFlight bounds the requests of a load that wait for an answer.
const maxInFlight = 1000

// httpClient returns a client whose connections start inside the machine. Each
// request has its own connection, so that each is routed and balanced by itself.
func (m *Machine) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return m.Dial(ctx, network, address)
		},
	}}
}

// Get asks a [Backend] from inside the machine, over a new connection. The
// URL's host must be numeric.
func (m *Machine) Get(ctx context.Context, url string) (Answer, error) {
	return get(ctx, m.httpClient(), url)
}

func get(ctx context.Context, client *http.Client, url string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	a, err := decodeAnswer(resp)
	if err != nil {
		return Answer{}, fmt.Errorf("get %s: %w", url, err)
	}
	return a, nil
}

// LoadOptions says how to load a URL.
type LoadOptions struct {
	URL       string        // required: of a [Backend]; its host must be numeric
	PerSecond int           // required: requests a second
	Timeout   time.Duration // optional: after which a request counts as lost; 0 means 2 seconds

	// Lost is optional: it is called for each lost request, with when it was sent.
	Lost func(sent time.Time, err error)
}

// A LoadReport counts what became of a load's requests.
type LoadReport struct {
	Sent     int
	OK       int
	Lost     int            // failed, late or, with too many waiting, never sent
	Again    int            // connections that were reset; the request was sent again at once
	Slowest  time.Duration  // of those that were answered
	SlowAt   time.Time      // when the slowest was sent
	Backends map[string]int // answers of each backend

	FirstLoss, LastLoss time.Time // when they were sent; zero without loss
	LastError           error     // why the last lost one was lost
}

// String says the counts in one line.
func (r LoadReport) String() string {
	s := fmt.Sprintf("%d sent, %d ok, %d lost, %d sent again, slowest %v at %s;",
		r.Sent, r.OK, r.Lost, r.Again, r.Slowest.Round(100*time.Microsecond), r.SlowAt.Format(time.StampMilli))
	for _, b := range slices.Sorted(maps.Keys(r.Backends)) {
		s += fmt.Sprintf(" %s %d", b, r.Backends[b])
	}
	return s
}

// A Load sends requests at a steady rate until it is stopped.
type Load struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards the field below
	report LoadReport
}

// StartLoad starts to send requests from the machine, each over a connection
// of its own and at its time, whether or not earlier ones were answered. It
// ends when it is stopped, or with the lab.
//
// A connection that is open while its packets begin to take another path is
// reset: the node at the end of that path knows nothing of it, as kube-proxy
// keeps the connections of each node to itself. Such a request is sent again,
// once, as browsers and HTTP clients do.
func (m *Machine) StartLoad(opts LoadOptions) *Load {
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Second
	}
	ctx, cancel := context.WithCancel(m.life)
	l := &Load{cancel: cancel, done: make(chan struct{}), report: LoadReport{Backends: make(map[string]int)}}
	go func() {
		defer close(l.done)
		l.run(ctx, m.httpClient(), opts)
	}()
	return l
}

// run sends until the context ends, and then waits for the last answers.
func (l *Load) run(ctx context.Context, client *http.Client, opts LoadOptions) {
	tick := time.NewTicker(time.Second / time.Duration(opts.PerSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxInFlight)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		start := time.Now()
		select {
		case slots <- struct{}{}:
		default:
			l.count(start, Answer{}, fmt.Errorf("%d requests are waiting already", maxInFlight), opts.Lost)
			continue
		}
		all.Go(func() {
			// A request that is under way when the load stops may still finish.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opts.Timeout)
			defer cancel()
			a, err := get(ctx, client, opts.URL)
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				l.again()
				a, err = get(ctx, client, opts.URL)
			}
			l.count(start, a, err, opts.Lost)
			<-slots
		})
	}
}

func (l *Load) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Again++
}

// count enters one request into the report, and tells lost if it was.
func (l *Load) count(start time.Time, a Answer, err error, lost func(time.Time, error)) {
	took := time.Since(start)
	if err != nil && lost != nil {
		lost(start, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Sent++
	if err == nil {
		l.report.OK++
		if took > l.report.Slowest {
			l.report.Slowest, l.report.SlowAt = took, start
		}
		l.report.Backends[a.Backend]++
		return
	}
	l.report.Lost++
	l.report.LastError = err
	if l.report.FirstLoss.IsZero() || start.Before(l.report.FirstLoss) {
		l.report.FirstLoss = start
	}
	if start.After(l.report.LastLoss) {
		l.report.LastLoss = start
	}
}

// Report returns the counts up to now, of the requests that have ended.
func (l *Load) Report() LoadReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Backends = maps.Clone(r.Backends)
	return r
}

// Stop stops sending, waits for the requests that are under way, and returns
// the counts. Stopping it again returns them again.
func (l *Load) Stop() LoadReport {
	l.cancel()
	<-l.done
	return l.Report()
}
