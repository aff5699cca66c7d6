// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heraldlb/herald/lab/process"
)

// bgpPort is the TCP port of BGP. RFC 4271, Section 8.2.
const bgpPort = 179

// collectEvery is how often a router collects garbage. GoBGP drops a connection that
// comes while the session of its peer ends, and does not close it: the peer waits for an
// OPEN until the collector does.
const collectEvery = 2 * time.Second

// GoBGPOptions says which router GoBGP is.
type GoBGPOptions struct {
	Name     string        // optional: what its log and socket are called; empty means gobgp
	ASN      uint32        // required
	PeerASN  uint32        // optional: the AS of the nodes; 0 means the lab's
	Listen   []netip.Addr  // optional: its addresses, added to g1 if they are not there; empty means g1's own
	Port     uint16        // optional: 0 means 179
	Peers    []netip.Addr  // optional: the only nodes it talks to; empty means everybody on the LAN
	Password string        // optional: of its sessions (TCP MD5, RFC 2385)
	HoldTime time.Duration // optional: 0 means 9 seconds, with a third of it between keepalives
}

// withDefaults fills in what is left out.
func (opts GoBGPOptions) withDefaults(t *Topology) GoBGPOptions {
	opts.Name = cmp.Or(opts.Name, "gobgp")
	opts.PeerASN = cmp.Or(opts.PeerASN, t.opts.NodeASN)
	opts.Port = cmp.Or(opts.Port, bgpPort)
	opts.HoldTime = cmp.Or(opts.HoldTime, 9*time.Second)
	if len(opts.Listen) == 0 {
		opts.Listen = []netip.Addr{t.Collector.Addr4, t.Collector.Addr6}
	}
	return opts
}

// A GoBGP is a router that keeps what it is told, for tests to look at. It
// waits for its peers to connect.
type GoBGP struct {
	Addrs []netip.Addr // where it listens

	process *process.Process
	conn    *grpc.ClientConn
	client  api.GobgpApiClient
}

// StartGoBGP starts a router on g1. Several can run there, on addresses of
// their own.
func (t *Topology) StartGoBGP(ctx context.Context, opts GoBGPOptions) (*GoBGP, error) {
	opts = opts.withDefaults(t)
	g, err := t.startGoBGP(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start GoBGP %s: %w", opts.Name, err)
	}
	return g, nil
}

func (t *Topology) startGoBGP(ctx context.Context, opts GoBGPOptions) (*GoBGP, error) {
	if err := t.Collector.addLANAddresses(opts.Listen...); err != nil {
		return nil, err
	}
	// One that was killed leaves its socket.
	if err := os.Remove(t.Collector.Path(opts.Name + ".grpc")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p, err := t.Collector.startHelper("gobgp", opts.Name, t.gobgpTarget(opts.Name))
	if err != nil {
		return nil, err
	}
	g, err := t.connectGoBGP(opts, p)
	if err != nil {
		p.Stop()
		return nil, err
	}
	if err := g.configure(ctx, opts); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

// gobgpTarget is where a router's API is served.
func (t *Topology) gobgpTarget(name string) string {
	return "unix://" + t.Collector.Path(name+".grpc")
}

// connectGoBGP returns a router whose process has been started.
func (t *Topology) connectGoBGP(opts GoBGPOptions, p *process.Process) (*GoBGP, error) {
	g := &GoBGP{Addrs: opts.Listen, process: p}
	var err error
	g.conn, err = grpc.NewClient(t.gobgpTarget(opts.Name), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	g.client = api.NewGobgpApiClient(g.conn)
	return g, nil
}

// configure starts BGP and says who may connect.
func (g *GoBGP) configure(ctx context.Context, opts GoBGPOptions) error {
	id := netip.AddrFrom4([4]byte{10, 10, 0, 200})
	global := &api.Global{Asn: opts.ASN, ListenPort: int32(opts.Port)}
	for _, a := range opts.Listen {
		global.ListenAddresses = append(global.ListenAddresses, a.String())
		if a.Is4() {
			id = a
		}
	}
	global.RouterId = id.String()
	err := process.PollWhile(ctx, g.process, func() error {
		_, err := g.client.StartBgp(ctx, &api.StartBgpRequest{Global: global}, grpc.WaitForReady(true))
		return err
	})
	if err != nil {
		return err
	}
	hold := uint64(opts.HoldTime.Seconds())
	timers := &api.Timers{Config: &api.TimersConfig{HoldTime: hold, KeepaliveInterval: hold / 3}}
	passive := &api.Transport{PassiveMode: true}
	if len(opts.Peers) > 0 {
		for _, a := range opts.Peers {
			_, err := g.client.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
				Conf:      &api.PeerConf{NeighborAddress: a.String(), PeerAsn: opts.PeerASN, AuthPassword: opts.Password},
				Timers:    timers,
				Transport: passive,
				AfiSafis:  unicast(),
			}})
			if err != nil {
				return err
			}
		}
		return nil
	}
	const group = "nodes"
	_, err = g.client.AddPeerGroup(ctx, &api.AddPeerGroupRequest{PeerGroup: &api.PeerGroup{
		Conf:      &api.PeerGroupConf{PeerGroupName: group, PeerAsn: opts.PeerASN, AuthPassword: opts.Password},
		Timers:    timers,
		Transport: passive,
		AfiSafis:  unicast(),
	}})
	if err != nil {
		return err
	}
	for _, lan := range []netip.Prefix{netip.PrefixFrom(lan4(0), 24), netip.PrefixFrom(lan6(0), 64)} {
		_, err := g.client.AddDynamicNeighbor(ctx, &api.AddDynamicNeighborRequest{
			DynamicNeighbor: &api.DynamicNeighbor{Prefix: lan.String(), PeerGroup: group},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the router. Its peers notice at once.
func (g *GoBGP) Stop() error {
	g.process.Stop()
	return g.conn.Close()
}

// Process returns the router's process, to be stopped, killed or frozen.
func (g *GoBGP) Process() *process.Process { return g.process }

// unicastFamilies are the address families of every session.
var unicastFamilies = []*api.Family{
	{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST},
	{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST},
}

// unicast enables the families in a peer's configuration.
func unicast() []*api.AfiSafi {
	var all []*api.AfiSafi
	for _, f := range unicastFamilies {
		all = append(all, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: f, Enabled: true}})
	}
	return all
}

// A Session is a BGP session as GoBGP sees it.
type Session struct {
	Peer        netip.Addr
	Established bool
	State       string        // GoBGP's word for it
	Downs       uint32        // how often it went down
	HoldTime    time.Duration // as negotiated; 0 unless established
}

// Sessions returns the sessions with every peer that it knows: those that it
// was told of, and those of the LAN that have connected.
func (g *GoBGP) Sessions(ctx context.Context) ([]Session, error) {
	stream, err := g.client.ListPeer(ctx, &api.ListPeerRequest{})
	if err != nil {
		return nil, fmt.Errorf("list GoBGP's sessions: %w", err)
	}
	var all []Session
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list GoBGP's sessions: %w", err)
		}
		state := resp.GetPeer().GetState()
		peer, err := netip.ParseAddr(state.GetNeighborAddress())
		if err != nil {
			return nil, fmt.Errorf("list GoBGP's sessions: %w", err)
		}
		all = append(all, Session{
			Peer:        peer,
			Established: state.GetSessionState() == api.PeerState_ESTABLISHED,
			State:       state.GetSessionState().String(),
			Downs:       state.GetFlops(),
			HoldTime:    time.Duration(resp.GetPeer().GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second,
		})
	}
}

// WaitSession waits until the session with a peer is established, or is not,
// whichever is wanted.
func (g *GoBGP) WaitSession(ctx context.Context, peer netip.Addr, established bool) error {
	err := process.Poll(ctx, 10*time.Millisecond, func() error {
		all, err := g.Sessions(ctx)
		if err != nil {
			return err
		}
		var s Session
		for _, s = range all {
			if s.Peer == peer {
				break
			}
		}
		if (s.Peer == peer && s.Established) != established {
			return fmt.Errorf("state is %q", s.State)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for GoBGP's session with %s: %w", peer, err)
	}
	return nil
}

// serveGoBGP is the helper: its argument is where it serves GoBGP's API.
func serveGoBGP(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want the API's address")
	}
	s := server.NewBgpServer(server.GrpcListenAddress(args[0]))
	go s.Serve()
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.StopBgp(context.WithoutCancel(ctx), &api.StopBgpRequest{})
		case <-tick.C:
			runtime.GC()
		}
	}
}
