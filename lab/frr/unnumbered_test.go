// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// An unnumbered session with r1 over a cable carries the routes of both
// families, with r1's kernel forwarding to a link-local address; BFD guards it,
// and a change of its profile does not flap it.
//
// Acceptance: B135-B137, B140.
func TestBGPUnnumbered(t *testing.T) { e2e.VersionsAtOnce(t, testBGPUnnumbered) }

func testBGPUnnumbered(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{Nodes: 1, FRRRoot: v.Root})
	n1, r1 := top.Nodes[0], top.Router
	if err := lab.Cable(n1.Machine, r1.Machine, "p2p"); err != nil {
		t.Fatal(err)
	}
	_, err := r1.FRR.Vtysh(e2e.Deadline(t), "configure terminal",
		"router bgp 64513", "neighbor p2p interface remote-as external", "neighbor p2p timers connect 1",
		"address-family ipv4 unicast", "neighbor p2p activate", "exit-address-family",
		"address-family ipv6 unicast", "neighbor p2p activate", "exit-address-family", "exit",
		"bfd", "profile fast", "transmit-interval 250", "receive-interval 250")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := r1.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	e2e.Serve(t, n1)

	s := newSessionTest(t, top, n1)
	c := config.Config{
		Peers:       []config.Peer{{Name: "r1", MyASN: 64512, DynamicASN: config.External, Interface: "p2p", ConnectTime: new(time.Second)}},
		BFDProfiles: []config.BFDProfile{{Name: "lab", TransmitInterval: 250, ReceiveInterval: 250}},
	}
	start := time.Now()
	s.configure(c)
	id := status.PeerID{Interface: "p2p"}
	alone := s.session(n1, id, func(f frr.Session) error {
		if err := established(f); err != nil {
			return err
		}
		if f.BFD != nil || f.PrefixesSent != 2 {
			return fmt.Errorf("it is %+v with BFD %+v, want none", f, f.BFD)
		}
		return nil
	})
	e2e.Routed(t, routes, "without BFD", e2e.Service, start, lab.Present())
	e2e.Routed(t, routes, "without BFD, IPv6", e2e.Service6, start, lab.Present())
	// BFD comes to a session that is up, and to both ends.
	if _, err := r1.FRR.Vtysh(e2e.Deadline(t), "configure terminal", "router bgp 64513", "neighbor p2p bfd", "neighbor p2p bfd profile fast"); err != nil {
		t.Fatal(err)
	}
	c.Peers[0].BFDProfile = "lab"
	s.configure(c)
	up := func(f frr.Session) error {
		if err := established(f); err != nil {
			return err
		}
		if f.BFD == nil || !f.BFD.Up || f.PrefixesSent != 2 || f.ASN != 64513 {
			return fmt.Errorf("it is %+v with BFD %+v", f, f.BFD)
		}
		return nil
	}
	before := s.session(n1, id, up)
	effective := func(want e2e.BFDPeer) {
		t.Helper()
		ctx := e2e.Deadline(t)
		for {
			near, far := bfdOver(t, n1.FRR, "p2p"), bfdOver(t, r1.FRR, "p2p")
			want.Status = "up"
			diff := cmp.Diff(want, near.BFDPeer) + cmp.Diff(
				[]int{want.ReceiveInterval, want.TransmitInterval, want.DetectMultiplier},
				[]int{far.RemoteReceive, far.RemoteTransmit, far.RemoteMultiplier}) + cmp.Diff(
				[]int{250, 250, 3},
				[]int{near.RemoteReceive, near.RemoteTransmit, near.RemoteMultiplier})
			if diff == "" {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("BFD of n1, of it at r1, of r1 at n1 (-want +got):\n%s", diff)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	effective(e2e.BFDPeer{ReceiveInterval: 250, TransmitInterval: 250, DetectMultiplier: 3, EchoReceive: 50})
	if before.Established != alone.Established {
		t.Errorf("BFD reset the session: established %d times, then %d", alone.Established, before.Established)
	}
	e2e.Routed(t, routes, "unnumbered", e2e.Service, start, lab.Present())
	e2e.Routed(t, routes, "unnumbered, IPv6", e2e.Service6, start, lab.Present())
	for _, p := range []netip.Prefix{e2e.Service, e2e.Service6} {
		hops := routes.History(p)
		if hop := hops[len(hops)-1].NextHops; len(hop) != 1 || !hop[0].IsLinkLocalUnicast() || !hop[0].Is6() {
			t.Errorf("route to %s via %v, want a link-local address", p, hop)
		}
		if _, err := top.Client.Get(e2e.Deadline(t), e2e.ServiceURL(p)); err != nil {
			t.Error(err)
		}
	}

	// What the peer was sent is known by its interface.
	r := frr.NewReader(n1.FRR.RunDir)
	defer r.Close()
	for _, p := range []netip.Prefix{e2e.Service, e2e.Service6} {
		to, err := r.AdvertisedTo(e2e.Deadline(t), "", p)
		if err != nil || !slices.Equal(to, []status.PeerID{id}) {
			t.Errorf("%s was sent to %v, %v; want %v", p, to, err, id)
		}
		all, err := r.Advertised(e2e.Deadline(t), id, p.Addr().Is6())
		if err != nil || len(all) != 1 || !all[p] {
			t.Errorf("sent to %s: %v, %v; want %s", id, all, err, p)
		}
	}

	downs := func() string {
		out, err := n1.FRR.Vtysh(e2e.Deadline(t), "show bfd peers counters json")
		if err != nil {
			t.Fatal(err)
		}
		var all []struct {
			Up   int `json:"session-up"`
			Down int `json:"session-down"`
		}
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(all)
	}
	flaps := downs()
	c.BFDProfiles[0] = config.BFDProfile{Name: "lab", TransmitInterval: 260, ReceiveInterval: 260, DetectMultiplier: 5}
	s.configure(c)
	effective(e2e.BFDPeer{ReceiveInterval: 260, TransmitInterval: 260, DetectMultiplier: 5, EchoReceive: 50})
	after := s.session(n1, id, up)
	if now := downs(); after.Established != before.Established || now != flaps {
		t.Errorf("a change of the profile: established %d times, then %d; BFD %s, then %s", before.Established, after.Established, flaps, now)
	}

	// The cable is cut where nobody's interface goes down: BFD notices.
	cut := time.Now()
	if err := n1.FRR.Signal(unix.SIGSTOP, "bfdd"); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "bfdd frozen", e2e.Service, cut, lab.Absent())
	if err := n1.FRR.Signal(unix.SIGCONT, "bfdd"); err != nil {
		t.Fatal(err)
	}
	s.session(n1, id, up)
}

// bfdOver returns the BFD session of an FRR over an interface; there is none if it
// has no status.
func bfdOver(t *testing.T, f *lab.FRR, link string) e2e.BFDSession {
	t.Helper()
	all, err := e2e.BFDSessions(e2e.Deadline(t), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Interface == link {
			return s
		}
	}
	return e2e.BFDSession{}
}
