// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/announce"
)

const (
	askTimeout  = 250 * time.Millisecond // of one question about a Service
	nodeTimeout = time.Second            // of one about the node
	tryTimeout  = 100 * time.Millisecond // of one connection
	tries       = 4                      // connections at a time: the data plane may lead them to any endpoint
	maxBody     = 4 << 10
)

// An answer is what a data plane says to a question.
type answer struct {
	yes    bool
	silent bool   // nothing listens there
	hangs  bool   // it was not answered in time
	why    string // it is no yes
}

// An asker asks the data plane of this node.
type asker struct {
	healthz netip.AddrPort
	client  *http.Client
}

func newAsker(healthz netip.AddrPort) asker {
	return asker{healthz: healthz, client: &http.Client{
		// A Service's port may be answered by anything: it leads nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
	}}
}

// get asks at one address. It returns the status code and the beginning of the text.
func (a asker) get(ctx context.Context, at netip.AddrPort, timeout time.Duration) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/healthz", nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, body, err
}

// health asks whether the data plane is healthy. kube-proxy from 1.34 on says whether it
// has written its rules once; older ones, and others, are believed. A node that is about
// to be deleted is eligible for nothing, but its data plane may well be healthy.
func (a asker) health(ctx context.Context) answer {
	code, body, err := a.get(ctx, a.healthz, nodeTimeout)
	if err != nil {
		return failure(a.healthz, err)
	}
	var said struct {
		Eligible *bool                      `json:"nodeEligible"`
		Healthy  *bool                      `json:"healthy"`
		Status   map[string]json.RawMessage `json:"status"`
	}
	known := json.Unmarshal(body, &said) == nil
	switch {
	case known && said.Healthy != nil && *said.Healthy && len(said.Status) == 0:
		return answer{why: fmt.Sprintf("http://%s/healthz: no rules were written yet", a.healthz)}
	case code == http.StatusOK:
		return answer{yes: true}
	case known && said.Eligible != nil && !*said.Eligible && (said.Healthy == nil || *said.Healthy):
		return answer{yes: true}
	}
	return answer{why: fmt.Sprintf("http://%s/healthz answers %d", a.healthz, code)}
}

// service asks about an address of a Service, by what it waits for.
func (a asker) service(ctx context.Context, w watch, hosts []netip.Addr) answer {
	if w.phase == trying {
		return a.connects(ctx, w.about)
	}
	var last answer
	for _, host := range hostsFor(w.about.Addr, hosts) {
		at := netip.AddrPortFrom(host, w.about.HealthPort)
		if last = a.endpoints(ctx, at, w.about.Service); !last.silent {
			break
		}
	}
	return last
}

// hostsFor returns where a health check node port is asked for: on the addresses of this
// node, those of the Service's family first. kube-proxy may listen on some of them only.
func hostsFor(addr netip.Addr, hosts []netip.Addr) []netip.Addr {
	own, other := []netip.Addr{loopback4}, []netip.Addr{loopback6}
	if addr.Is6() {
		own, other = other, own
	}
	for _, h := range hosts {
		if h.Is4() == addr.Is4() {
			own = append(own, h)
		} else {
			other = append(other, h)
		}
	}
	return append(own, other...)
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// endpoints asks at a health check node port whether the data plane has endpoints of the
// Service on this node.
func (a asker) endpoints(ctx context.Context, at netip.AddrPort, service string) answer {
	code, body, err := a.get(ctx, at, askTimeout)
	if err != nil {
		return failure(at, err)
	}
	var said struct {
		Service struct{ Namespace, Name string }
	}
	if json.Unmarshal(body, &said) == nil && said.Service.Name != "" {
		namespace, name, _ := strings.Cut(service, "/")
		if said.Service.Namespace != namespace || said.Service.Name != name {
			return answer{why: fmt.Sprintf("health check node port %d answers for another Service", at.Port())}
		}
	}
	if code != http.StatusOK {
		return answer{why: fmt.Sprintf("health check node port %d answers %d", at.Port(), code)}
	}
	return answer{yes: true}
}

// failure is the answer that did not come.
func failure(at netip.AddrPort, err error) answer {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return answer{silent: true, why: fmt.Sprintf("nothing listens on port %d of the node", at.Port())}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return answer{hangs: true, why: fmt.Sprintf("port %d of the node does not answer", at.Port())}
	}
	return answer{silent: true, why: fmt.Sprintf("port %d of the node: %v", at.Port(), errors.Unwrap(err))}
}

// connects reports whether the data plane leads connections to the address to an endpoint.
// The packets may make no hop: without the data plane they would go to another node that
// announces the address, and prove nothing.
func (a asker) connects(ctx context.Context, q announce.Question) answer {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	d := net.Dialer{Control: NearSocket(q.Addr)}
	var all errgroup.Group
	var connected atomic.Bool
	for i := range tries {
		at := netip.AddrPortFrom(q.Addr, q.TCP[i%len(q.TCP)])
		all.Go(func() error {
			conn, err := d.DialContext(ctx, "tcp", at.String())
			if err == nil {
				connected.Store(true)
				cancel() // the others
				_ = conn.Close()
			}
			return nil
		})
	}
	_ = all.Wait() // none returns an error
	if connected.Load() {
		return answer{yes: true}
	}
	return answer{why: fmt.Sprintf("no connection to %s from the node", netip.AddrPortFrom(q.Addr, q.TCP[0]))}
}
