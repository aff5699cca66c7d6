// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/process"
)

// An Answer is what a backend says to every request.
type Answer struct {
	Backend string         `json:"backend"` // which backend it is
	Client  netip.AddrPort `json:"client"`  // whom it saw
	Local   netip.AddrPort `json:"local"`   // the address at which it was reached
}

// A Backend is a server on a machine that says who it is: over HTTP, also who asks,
// and over UDP.
type Backend struct {
	Name string

	process *process.Process
}

// StartBackend starts a backend on the node's pod addresses, port 8080, named
// after the node. It returns when the backend accepts connections.
func (n *Node) StartBackend(ctx context.Context) (*Backend, error) {
	return n.StartBackendAt(ctx, n.Name, netip.AddrPortFrom(n.Pod4, controlplane.BackendPort), netip.AddrPortFrom(n.Pod6, controlplane.BackendPort))
}

// StartBackendAt starts a backend of a name that listens at these addresses,
// which the machine must have. It returns when the backend accepts connections.
func (m *Machine) StartBackendAt(ctx context.Context, name string, listen ...netip.AddrPort) (*Backend, error) {
	args := []string{name}
	for _, l := range listen {
		args = append(args, l.String())
	}
	p, err := m.startHelper("backend", "backend-"+name, args...)
	if err != nil {
		return nil, err
	}
	for _, l := range listen {
		err := process.PollWhile(ctx, p, func() error {
			conn, err := m.Dial(ctx, "tcp", l.String())
			if err != nil {
				return err
			}
			return conn.Close()
		})
		if err != nil {
			p.Stop()
			return nil, fmt.Errorf("start backend %s on %s: %w", name, m.Name, err)
		}
	}
	return &Backend{Name: name, process: p}, nil
}

// Process returns the backend's process, to be stopped or killed.
func (b *Backend) Process() *process.Process { return b.process }

// serveBackend is the helper: args are its name and where it listens.
func serveBackend(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("want a name and addresses")
	}
	name := args[0]
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := Answer{Backend: name}
			a.Client, _ = netip.ParseAddrPort(r.RemoteAddr) // net/http made it from one
			if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
				a.Local = local.AddrPort()
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(a) // the client has gone; it counts that itself
		}),
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, addr := range args[1:] {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		datagrams, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		g.Go(func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error { return serveDatagrams(name, datagrams) })
		g.Go(func() error {
			<-ctx.Done()
			return datagrams.Close()
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return g.Wait()
}

// serveDatagrams says to each datagram who answers, until the connection is closed.
func serveDatagrams(name string, conn net.PacketConn) error {
	buf := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo([]byte(name), from) // as lossy as the question
	}
}

// AskUDP sends a datagram to a [Backend] from inside the machine, and returns the
// name of the one that answers.
func (m *Machine) AskUDP(ctx context.Context, to netip.AddrPort) (string, error) {
	conn, err := m.Dial(ctx, "udp", to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte("?")); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", to, err)
	}
	return string(buf[:n]), nil
}

// decodeAnswer reads a backend's answer.
func decodeAnswer(resp *http.Response) (Answer, error) {
	defer resp.Body.Close()
	var a Answer
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %s", resp.Status)
	}
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		return a, fmt.Errorf("content type %q, want JSON", ct)
	}
	err := json.NewDecoder(resp.Body).Decode(&a)
	return a, err
}
