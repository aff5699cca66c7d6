// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// startTimeout bounds each wait for something that starts.
const startTimeout = time.Minute

// downTimeout is how long taking a lab down may take.
const downTimeout = 10 * time.Second

// Options says which network to build. The zero value is the default topology.
type Options struct {
	Nodes      int           // optional: how many nodes, 1 to 99; 0 means 3
	NodeASN    uint32        // optional: the AS of the nodes; 0 means 64512
	FRRRoot    string        // optional: file system with the FRR of r1 and of nodes without one of their own; empty means this machine's
	NodeFRR    []NodeFRR     // optional: the FRR of n1, n2, …; nodes beyond them have the zero value's
	Router     RouterOptions // optional: how r1 is set up
	NoFRR      bool          // optional: start FRR neither on the nodes nor on r1
	NoMachines bool          // optional: only the host's end of the management network, for a control plane
	Sidecar    bool          // optional: run FRR and the agents on the nodes as the containers of their pod
	SmallConf  bool          // optional: a node's folder with FRR's configuration has room for a mebibyte, so that a test can fill it
}

// NodeFRR says which FRR a node has, and whether it serves as a router of the test.
type NodeFRR struct {
	Root    string // optional: the file system with it; empty means Options.FRRRoot
	Listens bool   // optional: bgpd takes connections, as a router's does
}

// A Topology is a lab's network. [Topology.Down] takes it down.
type Topology struct {
	Name       string       // prefix of its namespaces and links: "hl0"
	Dir        string       // its directory
	Management netip.Prefix // the host's address on the management bridge, and the network

	Nodes     []*Node  // n1, n2, …
	Router    *Router  // r1, the top-of-rack router
	Client    *Machine // c1, behind r1
	LANClient *Machine // c2, on the nodes' own LAN
	Collector *Machine // g1, where GoBGP runs

	opts   Options
	slot   *slot
	life   context.Context // ends when the lab is taken down
	cancel context.CancelFunc
}

// A Node is a machine of the cluster.
type Node struct {
	*Machine
	FRR        *FRR
	Sidecar    *Sidecar   // nil unless the lab's options ask for it
	Number     int        // from 1
	Pod4, Pod6 netip.Addr // the addresses that its pods have
	Management netip.Addr // its address on the management bridge
}

// A Router is a machine that learns routes by BGP and forwards by them.
type Router struct {
	*Machine
	FRR     *FRR
	Client4 netip.Addr // its address on the client's side
	Client6 netip.Addr // likewise
}

// Up builds a network and starts FRR on its nodes, with no configuration, and
// on its router. What it made until an error it removes again.
func Up(ctx context.Context, opts Options) (*Topology, error) {
	opts.Nodes = cmp.Or(opts.Nodes, 3)
	opts.NodeASN = cmp.Or(opts.NodeASN, 64512)
	opts.FRRRoot = cmp.Or(opts.FRRRoot, "/")
	if opts.Nodes < 1 || opts.Nodes > 99 {
		return nil, fmt.Errorf("build lab: %d nodes, want 1 to 99", opts.Nodes)
	}
	s, err := takeSlot(ctx)
	if err != nil {
		return nil, fmt.Errorf("build lab: %w", err)
	}
	// Its programs outlive the building of it.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &Topology{Name: s.Name, Dir: s.Dir, Management: s.Management, opts: opts, slot: s, life: life, cancel: cancel}
	if err := t.build(ctx); err != nil {
		return nil, fmt.Errorf("build lab %s: %w", s.Name, errors.Join(err, t.Down(ctx)))
	}
	return t, nil
}

// build makes the machines, wires them and starts FRR. The order matters: see
// [Machine.unshareMounts].
func (t *Topology) build(ctx context.Context) error {
	if err := os.Mkdir(t.Dir, 0o755); err != nil {
		return err
	}
	// A mount namespace can be held by a file only on a mount that is private.
	if err := unix.Mount(t.Dir, t.Dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", t.Dir, err)
	}
	if err := unix.Mount("", t.Dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mount %s private: %w", t.Dir, err)
	}
	if t.opts.NoMachines {
		_, err := t.addManagement()
		return err
	}
	t.machines()
	for _, m := range t.Machines() {
		if err := os.Mkdir(m.Dir, 0o755); err != nil {
			return err
		}
	}
	if err := t.prepareFRR(ctx); err != nil {
		return err
	}
	for _, m := range t.Machines() {
		var err error
		if m.Namespace, err = newNamespace(t.Name + "-" + m.Name); err != nil {
			return err
		}
	}
	if err := t.wire(); err != nil || t.opts.NoFRR {
		return err
	}
	var g errgroup.Group
	for _, n := range t.Nodes {
		g.Go(func() error { return n.startFRR(ctx) })
	}
	g.Go(func() error { return t.Router.FRR.Start(ctx) })
	return g.Wait()
}

// startFRR starts FRR on the node, and returns when it answers.
func (n *Node) startFRR(ctx context.Context) error {
	if n.Sidecar == nil {
		return n.FRR.Start(ctx)
	}
	if err := n.Sidecar.Start(); err != nil {
		return err
	}
	return n.Sidecar.Ready(ctx)
}

// prepareFRR gives the nodes and the router an FRR that does not run yet, and
// with it their mount namespaces.
func (t *Topology) prepareFRR(ctx context.Context) error {
	var g errgroup.Group
	for _, n := range t.Nodes {
		g.Go(func() (err error) {
			n.FRR = t.nodeFRR(n)
			n.FRR.small = t.opts.SmallConf
			err = n.FRR.prepare(ctx)
			if err == nil && t.opts.Sidecar {
				n.Sidecar, err = newSidecar(n)
			}
			return err
		})
	}
	g.Go(func() (err error) {
		conf, err := t.routerConfig()
		if err != nil {
			return err
		}
		t.Router.FRR = newFRR(t.Router.Machine, t.opts.FRRRoot)
		if err := t.Router.FRR.prepare(ctx); err != nil {
			return err
		}
		return t.Router.FRR.Configure(conf)
	})
	return g.Wait()
}

// nodeFRR returns the FRR of a node as the options want it.
func (t *Topology) nodeFRR(n *Node) *FRR {
	var choice NodeFRR
	if n.Number <= len(t.opts.NodeFRR) {
		choice = t.opts.NodeFRR[n.Number-1]
	}
	var args []string
	if !choice.Listens {
		// A node's bgpd never listens, as in a cluster, where another process of the
		// host may own the port.
		args = []string{"-p", "0"}
	}
	return newFRR(n.Machine, cmp.Or(choice.Root, t.opts.FRRRoot), args...)
}

// frrs returns the FRR of every machine that has one.
func (t *Topology) frrs() []*FRR {
	if t.opts.NoMachines {
		return nil
	}
	all := []*FRR{t.Router.FRR}
	for _, n := range t.Nodes {
		all = append(all, n.FRR)
	}
	return all
}

// Down kills the lab's processes and removes its namespaces, links, mounts and
// files. It does so even if ctx is done. A second call does nothing.
func (t *Topology) Down(ctx context.Context) error {
	if t.slot == nil {
		return nil
	}
	s := t.slot
	t.slot = nil
	defer t.cancel()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	if err := s.release(ctx); err != nil {
		return fmt.Errorf("take lab down: %w", err)
	}
	return nil
}

// Machines returns every machine of the lab.
func (t *Topology) Machines() []*Machine {
	if t.opts.NoMachines {
		return nil
	}
	var all []*Machine
	for _, n := range t.Nodes {
		all = append(all, n.Machine)
	}
	return append(all, t.Router.Machine, t.Client, t.LANClient, t.Collector)
}

// Node returns the node of that name, or nil.
func (t *Topology) Node(name string) *Node {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// machines decides names and addresses.
func (t *Topology) machines() {
	for i := range t.opts.Nodes {
		n := i + 1
		t.Nodes = append(t.Nodes, &Node{
			Machine:    t.machine(fmt.Sprintf("n%d", n), lan4(n), lan6(n)),
			Number:     n,
			Pod4:       netip.AddrFrom4([4]byte{10, 244, byte(n), 10}),
			Pod6:       netip.MustParseAddr(fmt.Sprintf("fd00:10:244:%d::10", n)),
			Management: t.management(10 + n),
		})
	}
	t.Router = &Router{
		Machine: t.machine("r1", lan4(254), lan6(254)),
		Client4: netip.MustParseAddr("10.20.0.254"),
		Client6: netip.MustParseAddr("fd00:10:20::254"),
	}
	t.Client = t.machine("c1", netip.MustParseAddr("10.20.0.1"), netip.MustParseAddr("fd00:10:20::1"))
	t.LANClient = t.machine("c2", lan4(100), lan6(100))
	t.Collector = t.machine("g1", lan4(200), lan6(200))
}

// machine returns a machine that has neither a directory nor a namespace yet.
func (t *Topology) machine(name string, addr4, addr6 netip.Addr) *Machine {
	return &Machine{Name: name, Dir: filepath.Join(t.Dir, name), Addr4: addr4, Addr6: addr6, life: t.life}
}

// management returns a host's address on the management network.
func (t *Topology) management(host int) netip.Addr {
	b := t.Management.Addr().As4()
	b[3] = byte(host)
	return netip.AddrFrom4(b)
}

// lan4 returns a host's address on the nodes' LAN.
func lan4(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, 0, byte(host)}) }

// lan6 returns a host's IPv6 address on the nodes' LAN. It is written as the
// IPv4 one: host 254 is fd00:10:10::254.
func lan6(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:10:10::%d", host)) }
