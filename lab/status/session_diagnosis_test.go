// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// told is how long it may take until a session that does not come up is explained
// everywhere.
const told = 30 * time.Second

// A peerStatus is the status of a BGPPeer as far as it is about sessions.
type peerStatus struct {
	Sessions struct {
		Wanted, Up int
		Summary    string
		LastError  string
		Nodes      []struct {
			Node, State, Reason, Message string
			Since                        metav1.Time
		}
	}
	Conditions []metav1.Condition
}

// nodes returns an error unless the sessions of the nodes agree with their number, and the
// last error with them.
func (s peerStatus) nodes() error {
	up := 0
	for i, n := range s.Sessions.Nodes {
		switch {
		case n.State == "Up":
			up++
		case up > 0, n.Reason == "", n.Message == "", !strings.Contains(s.Sessions.LastError, n.Reason+" on "), !strings.Contains(s.Sessions.LastError, n.Node):
			return fmt.Errorf("the session of node %d is %+v, and the last error is %q", i, n, s.Sessions.LastError)
		}
	}
	if up != s.Sessions.Up || len(s.Sessions.Nodes) != s.Sessions.Wanted || (s.Sessions.LastError == "") != (up == s.Sessions.Wanted) {
		return fmt.Errorf("%s are up, the nodes are %+v, and the last error is %q", s.Sessions.Summary, s.Sessions.Nodes, s.Sessions.LastError)
	}
	return nil
}

func (s peerStatus) sessionsUp() (c metav1.Condition) {
	if i := slices.IndexFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == "SessionsUp" }); i >= 0 {
		c = s.Conditions[i]
	}
	return c
}

// peerStatusOf returns the status of a BGPPeer.
func peerStatusOf(r *e2e.Resources, ctx context.Context, name string) (s peerStatus, err error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(e2e.KindOf(config.KindPeer))
	if o, err = r.Of(o).Get(ctx, name, metav1.GetOptions{}); err != nil {
		return s, err
	}
	b, err := json.Marshal(o.Object["status"])
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// sessionsUp waits until a BGPPeer says so of its sessions, for a reason and in
// these words.
func sessionsUp(r *e2e.Resources, name, summary, reason, words string) {
	r.T.Helper()
	r.Eventually("sessions with "+name, func(ctx context.Context) error {
		s, err := peerStatusOf(r, ctx, name)
		if err != nil {
			return err
		}
		c := s.sessionsUp()
		if s.Sessions.Summary != summary || c.Reason != reason || !strings.Contains(c.Message, words) || (c.Status == metav1.ConditionTrue) != (reason == "Established") {
			return fmt.Errorf("they are %q, %s %s %q", s.Sessions.Summary, c.Status, c.Reason, c.Message)
		}
		return s.nodes()
	})
}

// peerEvent waits until there is a warning about a BGPPeer that has these words.
func peerEvent(r *e2e.Resources, name, words string) {
	r.T.Helper()
	r.Eventually("event on "+name, func(ctx context.Context) error {
		list, err := r.Cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=BGPPeer,involvedObject.name=" + name,
		})
		if err != nil {
			return err
		}
		var all []string
		for _, ev := range list.Items {
			if ev.Type == corev1.EventTypeWarning && ev.Reason == "BGPSessionNotUp" && strings.Contains(ev.Message, words) {
				return nil
			}
			all = append(all, ev.Reason+" "+ev.Message)
		}
		return fmt.Errorf("there are %q", all)
	})
}

// A mute is a router that accepts TCP connections and says nothing.
type mute struct {
	mu   sync.Mutex
	from map[netip.Addr]int // the connections
}

// newMute starts a mute at an address of the router g1.
func newMute(r *e2e.Resources, at netip.AddrPort) *mute {
	r.T.Helper()
	m := &mute{from: make(map[netip.Addr]int)}
	var l net.Listener
	err := r.Collector.Namespace.Do(func() (err error) {
		l, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		r.T.Fatal(err)
	}
	var open []net.Conn
	done := make(chan struct{})
	r.T.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
			m.mu.Lock()
			m.from[netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()]++
			m.mu.Unlock()
		}
	}()
	return m
}

// connections returns how many connections came from an address.
func (m *mute) connections(from netip.Addr) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.from[from]
}

// Why a session does not come up is told on the Node, the BGPPeer and the Service,
// soon and with the cure: also when it was up, and the router has another password
// now.
func TestSessionDiagnosis(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	nodes, _ := r.VersionNodes("matchLabels")
	at := func(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, 0, byte(host)}) }
	start := func(opts lab.GoBGPOptions) *lab.GoBGP {
		t.Helper()
		opts.Peers = e2e.Addrs4(nodes)
		g, err := r.StartGoBGP(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	stop := func(g *lab.GoBGP) {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}
	keyed := lab.GoBGPOptions{Name: "diagnosis-keyed", ASN: 64601, Listen: []netip.Addr{at(214)}, Password: "ours"}
	router := start(keyed)
	defer func() { stop(router) }()
	defer stop(start(lab.GoBGPOptions{Name: "diagnosis-other-as", ASN: 64602, Listen: []netip.Addr{at(210)}}))
	defer stop(start(lab.GoBGPOptions{Name: "diagnosis-other-node-as", ASN: 64603, Listen: []netip.Addr{at(211)}, PeerASN: 64777}))
	defer stop(start(lab.GoBGPOptions{Name: "diagnosis-other-port", ASN: 64604, Listen: []netip.Addr{at(212), at(215)}, Port: 1179}))
	mute := newMute(r, netip.AddrPortFrom(at(215), 179))

	peers := []struct {
		name, spec    string
		reason, words string
	}{
		{"other-as", "peerASN: 64999, peerAddress: 10.10.0.210", "BadPeerAS", "the router is not in AS 64999 (Bad Peer AS sent)"},
		{"other-node-as", "peerASN: 64603, peerAddress: 10.10.0.211", "BadPeerAS", "the router expects another AS number of this node than 64512 (Bad Peer AS received)"},
		{"other-port", "peerASN: 64604, peerAddress: 10.10.0.212", "ConnectionRefused", "10.10.0.212:179 refuses TCP connections"},
		{"nobody", "peerASN: 64605, peerAddress: 10.10.0.213", "NoAnswer", "10.10.0.213:179: the address does not answer ARP"},
		{"mute", "peerASN: 64606, peerAddress: 10.10.0.215", "ConnectionClosed", "10.10.0.215"},
		{"keyed", "peerASN: 64601, peerAddress: 10.10.0.214, password: ours", "WrongPassword", "no TCP connection to 10.10.0.214:179: the router answers ping, and no packet that is signed with the password (TCP MD5, RFC 2385): check the password on both sides"},
	}
	// Each node has its own peer of each kind, pool and Service.
	pool := 0
	var objects []string
	for _, p := range peers {
		for _, n := range nodes {
			objects = append(objects, fmt.Sprintf(`
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %[1]s}, spec: {myASN: 64512, %[2]s, %[3]s}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %[1]s}, spec: {addresses: [198.51.100.%[4]d/32], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: %[1]s}, spec: {ipAddressPools: [%[1]s], peers: [%[1]s], %[3]s}}`,
				p.name+"-"+n.Name, p.spec, "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: "+n.Name+"}}]", 160+pool))
			pool++
		}
	}
	begin := time.Now()
	r.Apply(strings.Join(objects, "\n---\n"))
	for _, p := range peers {
		for _, n := range nodes {
			name := p.name + "-" + n.Name
			r.Expose(controlplane.ServiceOptions{Name: name, Annotations: map[string]string{"metallb.io/address-pool": name}})
		}
	}
	keyedUp := func() {
		t.Helper()
		for _, n := range nodes {
			sessionsUp(r, "keyed-"+n.Name, "1/1", "Established", "1 of 1 sessions are up")
			r.Condition("keyed-"+n.Name, "Announced", "bgp from "+n.Name+" to keyed")
		}
	}
	keyedUp()

	// The router of the session that is up has another password from now on.
	rekeyed := time.Now()
	stop(router)
	keyed.Name, keyed.Password = "diagnosis-rekeyed", "theirs"
	router = start(keyed)
	for _, p := range peers {
		since := begin
		if p.name == "keyed" {
			since = rekeyed
		}
		for _, n := range nodes {
			name := p.name + "-" + n.Name
			r.Test.NodeEvent(n, since, "Warning BGPSessionNotUp", "BGP session with "+name+" ", " is not up after ", p.words)
			sessionsUp(r, name, "0/1", p.reason, "0 of 1 sessions are up; "+n.Name+": ")
			sessionsUp(r, name, "0/1", p.reason, p.words)
			peerEvent(r, name, p.words)
			r.Condition(name, "NotAnnounced", "no BGP session is up on "+n.Name+": "+name+": ", p.words)
		}
		if d := time.Since(since); d > told {
			t.Errorf("%s: told everywhere after %v, want %v at most", p.name, d, told)
		}
	}
	// A router that leaves the OPEN without an answer gets another connection, long before
	// the hold time ends.
	for _, n := range nodes {
		r.Eventually("another connection from "+n.Name, func(context.Context) error {
			if c := mute.connections(n.Addr4); c < 2 {
				return fmt.Errorf("there were %d", c)
			}
			return nil
		})
	}

	// With the password it comes up, and nothing of the fault is left.
	stop(router)
	keyed.Name, keyed.Password = "diagnosis-keyed-again", "ours"
	router = start(keyed)
	keyedUp()
	for _, n := range nodes {
		if p, err := r.PeerOf(t.Context(), n, at(214)); err != nil || p.Session.LastError+p.Session.Diagnosis != "" || p.Session.Fault != "" {
			t.Errorf("%v: the session of %s that is up says %+v", err, n.Name, p.Session)
		}
	}
}
