// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/dataplane"
)

const (
	// maxTries is how many connections a probe makes at most, if the data plane may lead
	// them to other nodes, and stagger the time between two of them.
	maxTries = 16
	stagger  = 10 * time.Millisecond

	// maxHeader bounds what is read of an answer, in bytes.
	maxHeader = 64 << 10
)

// ask probes a target. It takes no longer than the probe's timeout.
func ask(ctx context.Context, t announce.Target) result {
	ctx, cancel := context.WithTimeout(ctx, t.Probe.Timeout)
	defer cancel()
	conn, tries, err := connect(ctx, t)
	if err != nil {
		return result{tries: tries, why: reason(err, t)}
	}
	defer reset(conn)
	if t.Probe.Protocol != config.ProbeHTTP {
		return result{ok: true}
	}
	code, err := get(ctx, conn, t)
	switch {
	case err != nil:
		return result{why: reason(err, t)}
	case code < 200 || code > 399:
		return result{why: fmt.Sprintf("%s answers %d", at(t), code)}
	}
	return result{ok: true}
}

// at returns what is asked.
func at(t announce.Target) string {
	if t.Probe.Protocol == config.ProbeHTTP {
		return "http://" + t.AddrPort().String() + t.Probe.Path
	}
	return t.AddrPort().String()
}

// reason says what has failed.
func reason(err error, t announce.Target) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return t.AddrPort().String() + " refuses connections"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s does not answer within %v", at(t), t.Probe.Timeout)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Sprintf("%s: %v", at(t), err)
}

// connect connects to a target. If only this node's endpoints count, no packet leaves the
// node's networks: what other nodes serve is not reached, and connections are made one after
// the other until one stays here. It returns how many were in vain, if they may all have
// been led elsewhere.
func connect(ctx context.Context, t announce.Target) (net.Conn, int, error) {
	if !t.Local {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", t.AddrPort().String())
		return conn, 0, err
	}
	d := net.Dialer{Control: dataplane.NearSocket(t.Addr)}
	if t.Share >= 1 {
		conn, err := d.DialContext(ctx, "tcp", t.AddrPort().String())
		return conn, 0, err
	}
	return race(ctx, &d, t.AddrPort())
}

// reset ends a connection with a reset. Thousands of others a second would each stay in the
// node's connection tracking for two minutes; these do for ten seconds.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it is closed
	}
	_ = conn.Close()
}

// race makes several connections, and returns the first that is made.
func race(ctx context.Context, d *net.Dialer, to netip.AddrPort) (net.Conn, int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type made struct {
		conn net.Conn
		err  error
	}
	results := make(chan made, maxTries)
	var dials sync.WaitGroup
	defer func() { // those that come too late
		cancel()
		dials.Wait()
		close(results)
		for late := range results {
			if late.conn != nil {
				reset(late.conn)
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	started, ended := 0, 0
	var last error
	for ended < maxTries {
		select {
		case <-timer.C:
			started++
			dials.Go(func() {
				conn, err := d.DialContext(ctx, "tcp", to.String())
				results <- made{conn, err}
			})
			if started < maxTries {
				timer.Reset(stagger)
			}
		case r := <-results:
			ended++
			switch {
			case r.err == nil:
				return r.conn, 0, nil
			case errors.Is(r.err, syscall.ECONNREFUSED):
				return nil, 0, r.err // only this node can refuse
			}
			last = r.err
		}
	}
	return nil, maxTries, last
}

// get sends a request, and returns the status.
func get(ctx context.Context, conn net.Conn, t announce.Target) (int, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequest(http.MethodGet, "http://"+t.AddrPort().String()+t.Probe.Path, nil)
	if err != nil {
		return 0, err
	}
	if t.Probe.Host != "" {
		req.Host = t.Probe.Host
	}
	req.Header.Set("User-Agent", "herald-probe")
	req.Header.Set("Accept", "*/*")
	req.Close = true
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	// Nothing of the body is read: the connection is closed.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}
