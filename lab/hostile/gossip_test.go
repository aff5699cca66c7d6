// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// gossipPort is where agents gossip.
const gossipPort = 7946

// A host on the LAN opens slow connections to the owner's agent that claim to carry 19 MB
// each, and sends it packets of junk. Nobody's request is lost, the agent stays small, and
// it counts what it refused. Then the key of gossip is replaced under the same load, and
// an agent restarts in the middle.
func TestGossip(t *testing.T) {
	e, w, a := e2e.Failover(t, "[10.10.0.156/30]")
	owner := e.Owner(w, a)
	agent := e.Agent(owner)
	stop := e.LoadFrom(e.LANClient, a, e.Nodes[2])

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	to := netip.AddrPortFrom(e2e.LANAddr(owner, netip.PrefixFrom(a, 32)), gossipPort).String()
	before := refusedBy(e, owner)
	var attack sync.WaitGroup
	attack.Go(func() { slowStreams(ctx, t, e.Collector, to, 60) })
	attack.Go(func() { junk(ctx, t, e.Collector, to, 20000) })
	var peak int64
	for ctx.Err() == nil {
		size, err := agent.Memory()
		if err != nil {
			t.Fatal(err)
		}
		peak = max(peak, size)
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	attack.Wait()
	after := refusedBy(e, owner)
	t.Logf("the agent had at most %d MB, and refused %d connections and %d packets",
		peak>>20, after.connections-before.connections, after.packets-before.packets)
	if peak > 100<<20 {
		t.Errorf("the agent had %d MB, want less than 100", peak>>20)
	}
	if after.connections-before.connections < 60 || after.packets == before.packets {
		t.Errorf("refused: %+v, before %+v", after, before)
	}

	replaceGossipKey(e)
	stop()
}

// refusals are what an agent has refused.
type refusals struct{ connections, packets uint64 }

func refusedBy(e *e2e.Test, n *lab.Node) (r refusals) {
	e.T.Helper()
	report, err := e.AgentReport(e.T.Context(), n)
	if err != nil || report.Layer2 == nil || report.Layer2.Gossip == nil {
		e.T.Fatalf("no report on gossip of %s: %v", n.Name, err)
	}
	g := report.Layer2.Gossip
	return refusals{g.RefusedConnections, g.RefusedPackets}
}

// slowStreams keeps so many connections open until the context ends. Each begins an
// encrypted stream of 19 MB, and sends as much as the agent takes.
func slowStreams(ctx context.Context, t *testing.T, m *lab.Machine, to string, count int) {
	begin := binary.BigEndian.AppendUint32([]byte{10}, 19<<20)
	part := make([]byte, 1<<16)
	var all sync.WaitGroup
	defer all.Wait()
	for range count {
		all.Go(func() {
			for ctx.Err() == nil {
				conn, err := m.Dial(ctx, "tcp", to)
				if err != nil {
					pause(ctx) // refused
					continue
				}
				deadline, _ := ctx.Deadline()
				if err := conn.SetDeadline(deadline); err != nil {
					t.Error(err)
				}
				_, err = conn.Write(begin)
				for sent := 0; err == nil && sent < 19<<20 && ctx.Err() == nil; sent += len(part) {
					_, err = conn.Write(part)
				}
				_ = conn.Close() // the agent may have closed it
				pause(ctx)
			}
		})
	}
}

// pause waits before another connection.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}

// junk sends packets of random bytes until the context ends.
func junk(ctx context.Context, t *testing.T, m *lab.Machine, to string, perSecond int) {
	conn, err := m.Dial(ctx, "udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	packet := make([]byte, 200)
	rand.Read(packet)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range perSecond / 1000 {
			if _, err := conn.Write(packet); errors.Is(err, net.ErrClosed) {
				t.Error(err)
				return
			}
		}
	}
}

// replaceGossipKey edits the Secret as an operator does, and restarts an agent while the
// others take the new key over.
func replaceGossipKey(e *e2e.Test) {
	e.T.Helper()
	dir := filepath.Join(e.Dir, "memberlist")
	old, err := os.ReadFile(filepath.Join(dir, "secretkey"))
	if err != nil {
		e.T.Fatal(err)
	}
	write := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".new", text, 0o440), os.Rename(path+".new", path)); err != nil {
			e.T.Fatal(err)
		}
	}
	write("secretkey-previous", old)
	write("secretkey", []byte(rand.Text()))
	restarted := e.Agent(e.Nodes[2])
	if err := restarted.Restart(); err != nil {
		e.T.Fatal(err)
	}
	e.Eventually("all agents accept the new key", func(ctx context.Context) error {
		for _, n := range e.Nodes {
			r, err := e.AgentReport(ctx, n)
			if err != nil {
				return err
			}
			g := r.Layer2.Gossip
			if len(r.Layer2.Members) != len(e.Nodes) || g.Keys != 2 || len(g.KeyLacking) > 0 || g.KeyError != "" {
				return fmt.Errorf("%s: %d members, %+v", n.Name, len(r.Layer2.Members), *g)
			}
		}
		return nil
	})
	if err := os.Remove(filepath.Join(dir, "secretkey-previous")); err != nil {
		e.T.Fatal(err)
	}
	// It has the new key alone, and hears the others: they use it.
	if err := restarted.Restart(); err != nil {
		e.T.Fatal(err)
	}
	e.Eventually("the agent with the new key alone is heard", func(ctx context.Context) error {
		r, err := e.AgentReport(ctx, e.Nodes[2])
		if err != nil {
			return err
		}
		if g := r.Layer2.Gossip; len(r.Layer2.Members) != len(e.Nodes) || g.Keys != 1 {
			return fmt.Errorf("%d members, %+v", len(r.Layer2.Members), *g)
		}
		return nil
	})
	if now, err := os.ReadFile(filepath.Join(dir, "secretkey")); err != nil || bytes.Equal(now, old) {
		e.T.Errorf("the key was not replaced: %v", err)
	}
}
