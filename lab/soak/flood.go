// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/arp"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
)

const (
	gossipPort = 7946
	statusPort = 7472

	// floodRate is how many packets a second are sent to each node, and readers how many
	// connections wait for a page at once.
	floodRate = 200
	readers   = 60
)

// flood sends, from g1, what nobody asked for, until it is undone.
func (r *rig) flood(s Step) (undo, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	end := func(context.Context) error {
		cancel()
		all.Wait()
		return nil
	}
	from := r.Collector
	switch s.Kind {
	case ConflictFlood:
		send, done, err := r.claims(s.Target)
		if err != nil {
			cancel()
			return nil, err
		}
		all.Go(func() {
			defer done()
			repeatedly(ctx, send)
		})
	case GossipFlood:
		to := netip.AddrPortFrom(r.Node(s.Node).Addr4, gossipPort).String()
		all.Go(func() { datagrams(ctx, from, to) })
		for range readers {
			all.Go(func() { hold(ctx, from, to, junk()) })
		}
	case ReaderFlood:
		to := netip.AddrPortFrom(r.Node(s.Node).Addr4, statusPort).String()
		for range readers {
			all.Go(func() { hold(ctx, from, to, []byte("GET /status HTTP/1.1\r\nHost: herald\r\n\r\n")) })
		}
	}
	return end, nil
}

// junk begins as a stream of memberlist that is encrypted and 16 MB long.
func junk() []byte {
	b := binary.BigEndian.AppendUint32([]byte{10}, 16<<20)
	return append(b, make([]byte, 32<<10)...)
}

// repeatedly calls send at the flood's rate.
func repeatedly(ctx context.Context, send func()) {
	tick := time.NewTicker(time.Second / floodRate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			send()
		}
	}
}

// datagrams sends junk to a UDP port.
func datagrams(ctx context.Context, from *lab.Machine, to string) {
	conn, err := from.Dial(ctx, "udp", to)
	if err != nil {
		return
	}
	defer conn.Close()
	text := junk()[:1000]
	repeatedly(ctx, func() { _, _ = conn.Write(text) }) // nobody needs to listen
}

// hold connects again and again, says something, and neither reads nor hangs up.
func hold(ctx context.Context, from *lab.Machine, to string, text []byte) {
	for ctx.Err() == nil {
		conn, err := from.Dial(ctx, "tcp", to)
		if err != nil {
			pause(ctx, 100*time.Millisecond)
			continue
		}
		_, _ = conn.Write(text) // it may be refused
		pause(ctx, time.Second)
		_ = conn.Close()
	}
}

// claims returns what tells every node, and nobody else, that g1 has the address of a
// Service, and what ends that.
func (r *rig) claims(service string) (send, done func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addrs, err := r.Cluster.WaitAddress(ctx, namespace, service)
	if err != nil {
		return nil, nil, err
	}
	var port l2.Port
	var mac l2.MAC
	err = r.Collector.Namespace.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		mac = l2.MAC(link.HardwareAddr)
		port, err = l2.Kernel{}.Open(l2.Link{Index: link.Index, Name: link.Name, MAC: mac}, l2.ARP)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open a link of g1: %w", err)
	}
	var frames [][]byte
	for _, n := range r.Nodes {
		to, err := n.MAC()
		if err != nil {
			return nil, nil, errors.Join(err, port.Close())
		}
		p, err := arp.NewPacket(arp.OperationRequest, mac[:], addrs[0], make(net.HardwareAddr, 6), addrs[0])
		if err != nil {
			return nil, nil, errors.Join(err, port.Close())
		}
		body, err := p.MarshalBinary()
		if err != nil {
			return nil, nil, errors.Join(err, port.Close())
		}
		frames = append(frames, slices.Concat(to[:], mac[:], []byte{0x08, 0x06}, body))
	}
	return func() {
		for _, f := range frames {
			_, _ = port.Write(f) // a flood that is too fast loses packets
		}
	}, func() { _ = port.Close() }, nil
}
