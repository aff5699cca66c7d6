// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heraldlb/herald/lab/process"
)

// A Path is a route as a peer sent it.
type Path struct {
	Prefix           netip.Prefix
	Peer             netip.Addr // who sent it
	NextHop          netip.Addr
	ASPath           []uint32
	LocalPref        *uint32  // nil means that it had none
	MED              *uint32  // likewise
	Communities      []string // "65010:7", in the order received (RFC 1997)
	LargeCommunities []string // "65010:1:2" (RFC 8092)
}

// Paths returns all paths that peers have sent and not withdrawn, in order of
// prefix and peer.
func (g *GoBGP) Paths(ctx context.Context) ([]Path, error) {
	var all []Path
	for _, f := range unicastFamilies {
		stream, err := g.client.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: f})
		if err != nil {
			return nil, fmt.Errorf("list GoBGP's paths: %w", err)
		}
		for {
			resp, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("list GoBGP's paths: %w", err)
			}
			for _, ap := range resp.GetDestination().GetPaths() {
				p, err := decodePath(ap)
				if err != nil {
					return nil, fmt.Errorf("list GoBGP's paths: %w", err)
				}
				// What was injected here has no peer.
				if p.Peer.IsValid() {
					all = append(all, p)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Path) int {
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		if a.Prefix.Bits() != b.Prefix.Bits() {
			return a.Prefix.Bits() - b.Prefix.Bits()
		}
		return a.Peer.Compare(b.Peer)
	})
	return all, nil
}

// WaitPaths waits until check accepts the paths, and returns those. When ctx
// ends first, the error is check's last.
func (g *GoBGP) WaitPaths(ctx context.Context, check func([]Path) error) ([]Path, error) {
	var paths []Path
	err := process.Poll(ctx, 10*time.Millisecond, func() error {
		var err error
		if paths, err = g.Paths(ctx); err != nil {
			return err
		}
		return check(paths)
	})
	if err != nil {
		return paths, fmt.Errorf("wait for GoBGP's paths: %w", err)
	}
	return paths, nil
}

// An EventKind says what a router noticed.
type EventKind string

const (
	PathLearned   EventKind = "path learned"   // or replaced
	PathWithdrawn EventKind = "path withdrawn" // by the peer; the end of a session shows as SessionDown only
	SessionUp     EventKind = "session up"
	SessionDown   EventKind = "session down"
)

// An Event is something that a router noticed.
type Event struct {
	Time time.Time // when it was known here
	Kind EventKind
	Peer netip.Addr
	Path Path // of PathLearned and PathWithdrawn; a withdrawn one has a prefix and nothing else
}

// Watch returns what happens from now on. The channel is closed when the
// context ends or the router does; a reader that lags behind delays nothing
// but itself.
func (g *GoBGP) Watch(ctx context.Context) (<-chan Event, error) {
	stream, err := g.client.WatchEvent(ctx, &api.WatchEventRequest{
		Peer: &api.WatchEventRequest_Peer{},
		Table: &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{
			{Type: api.WatchEventRequest_Table_Filter_ADJIN},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("watch GoBGP: %w", err)
	}
	// The state of each session comes first; after that, nothing is missed.
	for {
		resp, err := stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("watch GoBGP: %w", err)
		}
		if resp.GetPeer().GetType() == api.WatchEventResponse_PeerEvent_END_OF_INIT {
			break
		}
	}
	events := make(chan Event, 16)
	go func() {
		defer close(events)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			for _, e := range decodeEvents(resp) {
				select {
				case events <- e:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return events, nil
}

// decodeEvents translates one of GoBGP's events. What it cannot translate, such
// as a session that is neither up nor down, it leaves out.
func decodeEvents(resp *api.WatchEventResponse) []Event {
	now := time.Now()
	if peer := resp.GetPeer(); peer != nil {
		addr, err := netip.ParseAddr(peer.GetPeer().GetState().GetNeighborAddress())
		if err != nil {
			return nil
		}
		switch peer.GetPeer().GetState().GetSessionState() {
		case api.PeerState_ESTABLISHED:
			return []Event{{Time: now, Kind: SessionUp, Peer: addr}}
		case api.PeerState_IDLE:
			return []Event{{Time: now, Kind: SessionDown, Peer: addr}}
		default:
			return nil
		}
	}
	var all []Event
	for _, ap := range resp.GetTable().GetPaths() {
		p, err := decodePath(ap)
		if err != nil {
			continue
		}
		e := Event{Time: now, Kind: PathLearned, Peer: p.Peer, Path: p}
		if ap.GetIsWithdraw() {
			e.Kind, e.Path = PathWithdrawn, Path{Prefix: p.Prefix, Peer: p.Peer}
		}
		all = append(all, e)
	}
	return all
}

// decodePath translates one of GoBGP's paths.
func decodePath(ap *api.Path) (Path, error) {
	nlri, err := apiutil.GetNativeNlri(ap)
	if err != nil {
		return Path{}, err
	}
	var p Path
	if p.Prefix, err = netip.ParsePrefix(nlri.String()); err != nil {
		return Path{}, err
	}
	// What was injected here has "<nil>" in place of a peer.
	if peer, err := netip.ParseAddr(ap.GetNeighborIp()); err == nil {
		p.Peer = peer
	}
	attrs, err := apiutil.GetNativePathAttributes(ap)
	if err != nil {
		return Path{}, err
	}
	for _, attr := range attrs {
		switch a := attr.(type) {
		case *bgp.PathAttributeNextHop:
			p.NextHop = addrOf(a.Value)
		case *bgp.PathAttributeMpReachNLRI:
			p.NextHop = addrOf(a.Nexthop)
		case *bgp.PathAttributeAsPath:
			for _, seg := range a.Value {
				p.ASPath = append(p.ASPath, seg.GetAS()...)
			}
		case *bgp.PathAttributeLocalPref:
			p.LocalPref = &a.Value
		case *bgp.PathAttributeMultiExitDisc:
			p.MED = &a.Value
		case *bgp.PathAttributeCommunities:
			for _, c := range a.Value {
				p.Communities = append(p.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
			}
		case *bgp.PathAttributeLargeCommunities:
			for _, c := range a.Values {
				p.LargeCommunities = append(p.LargeCommunities, fmt.Sprintf("%d:%d:%d", c.ASN, c.LocalData1, c.LocalData2))
			}
		}
	}
	return p, nil
}

// addrOf converts an address of GoBGP's.
func addrOf(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the zero Addr says that it is not one
	return a.Unmap()
}

// Inject has the router announce a route, which may be a lie, to its peers. It
// is there to show that they do not take it.
func (g *GoBGP) Inject(ctx context.Context, prefix netip.Prefix, nextHop netip.Addr) error {
	path, err := injected(prefix, nextHop)
	if err == nil {
		_, err = g.client.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path})
	}
	if err != nil {
		return fmt.Errorf("inject %s via %s: %w", prefix, nextHop, err)
	}
	return nil
}

// Retract takes an injected route back.
func (g *GoBGP) Retract(ctx context.Context, prefix netip.Prefix, nextHop netip.Addr) error {
	path, err := injected(prefix, nextHop)
	if err == nil {
		_, err = g.client.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: path})
	}
	if err != nil {
		return fmt.Errorf("retract %s via %s: %w", prefix, nextHop, err)
	}
	return nil
}

// injected builds a path of origin IGP. IPv6 has its next hop in MP_REACH_NLRI
// (RFC 4760, Section 3).
func injected(prefix netip.Prefix, nextHop netip.Addr) (*api.Path, error) {
	nlri, err := anypb.New(&api.IPAddressPrefix{Prefix: prefix.Addr().String(), PrefixLen: uint32(prefix.Bits())})
	if err != nil {
		return nil, err
	}
	path := &api.Path{Family: unicastFamilies[0], Nlri: nlri}
	attrs := []proto.Message{&api.OriginAttribute{Origin: 0}}
	if prefix.Addr().Is4() {
		attrs = append(attrs, &api.NextHopAttribute{NextHop: nextHop.String()})
	} else {
		path.Family = unicastFamilies[1]
		attrs = append(attrs, &api.MpReachNLRIAttribute{Family: path.Family, NextHops: []string{nextHop.String()}, Nlris: []*anypb.Any{nlri}})
	}
	for _, a := range attrs {
		any, err := anypb.New(a)
		if err != nil {
			return nil, err
		}
		path.Pattrs = append(path.Pattrs, any)
	}
	return path, nil
}
