// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/render"
)

// A generator makes random BGP intents. Each has much in common with the one
// before: what becomes of one thing while others change is the question.
type generator struct {
	*rand.Rand
	node *lab.Node
	host string            // the host's name, which FRR shows unless it is told another
	live []render.Neighbor // neighbors that answer; they change in what does not end a session
}

// next returns an intent that may follow the last one.
func (g *generator) next(last render.Config) render.Config {
	c := render.Config{Hostname: g.host, ASN: 64512, RouterID: g.node.Addr4}
	c.BFDProfiles = last.BFDProfiles
	if g.chance(50) {
		c.BFDProfiles = g.profiles()
	}
	c.Neighbors = g.neighbors(last.Neighbors, c.BFDProfiles)
	for _, vrf := range []string{"blue", "red"} {
		if slices.ContainsFunc(c.Neighbors, func(n render.Neighbor) bool { return n.VRF == vrf }) {
			c.VRFs = append(c.VRFs, render.VRF{Name: vrf, ASN: oneOf[uint32](g, 64512, 64512, 64710), RouterID: g.node.Addr4})
		}
	}
	c.Classes, c.Networks = g.networks(c.Neighbors)
	return c
}

// chance is true in so many of a hundred cases.
func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// oneOf returns one of the values.
func oneOf[T any](g *generator, values ...T) T { return values[g.IntN(len(values))] }

func (g *generator) profiles() []config.BFDProfile {
	var all []config.BFDProfile
	for _, name := range []string{"fast", "lab", "slow"} {
		if g.chance(40) {
			continue
		}
		all = append(all, config.BFDProfile{
			Name:             name,
			ReceiveInterval:  oneOf[uint32](g, 0, 100, 300, 1000),
			TransmitInterval: oneOf[uint32](g, 0, 100, 300, 1000),
			DetectMultiplier: oneOf[uint32](g, 0, 3, 5),
			EchoInterval:     oneOf[uint32](g, 0, 50, 200),
			MinimumTTL:       oneOf[uint32](g, 0, 10, 254),
			EchoMode:         g.chance(20),
			PassiveMode:      g.chance(20),
		})
	}
	return all
}

// neighbors returns most of the live ones, and some that never answer, of which
// anything may change.
func (g *generator) neighbors(last []render.Neighbor, profiles []config.BFDProfile) []render.Neighbor {
	var all []render.Neighbor
	for _, n := range g.live {
		if g.chance(80) {
			all = append(all, n)
		}
	}
	for i := range 8 {
		n := render.Neighbor{
			Address:         oneOf(g, e2e.OnLAN(230+i), e2e.OnLAN6(230+i)),
			VRF:             oneOf(g, "", "", "", "red", "blue"), // which this kernel has not: FRR waits for them
			ASN:             oneOf[uint32](g, 64512, 64600, 4200000000),
			Port:            oneOf[uint16](g, 0, 179, 1179),
			EBGPMultiHop:    g.chance(30),
			GracefulRestart: g.chance(30),
			DualStack:       g.chance(30),
		}
		if !n.EBGPMultiHop && g.chance(30) {
			n.TTLSecurity = oneOf[uint8](g, 1, 1, 2, 254)
		}
		if g.chance(25) {
			n.TTLSecurity = min(n.TTLSecurity, 1)
			n.Address, n.Interface = netip.Addr{}, fmt.Sprintf("eth%d", 7+i%2) // of which there are none
		}
		if g.chance(30) {
			n.ASN, n.DynamicASN = 0, oneOf(g, config.Internal, config.External)
		}
		if n.ASN != 64512 && n.DynamicASN != config.Internal {
			n.LocalASN = oneOf[uint32](g, 0, 0, 64700)
		}
		if g.chance(30) && n.Interface == "" {
			n.SourceAddress = g.node.Addr4
			if n.Address.Is6() {
				n.SourceAddress = g.node.Addr6
			}
		}
		if g.chance(40) && n.Interface == "" {
			n.Password = config.NewSecret(oneOf(g, "one", "two!", `th"r#e|e`))
		}
		if g.chance(60) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b render.Neighbor) int { return a.ID().Compare(b.ID()) })
	all = slices.CompactFunc(all, func(a, b render.Neighbor) bool { return a.ID() == b.ID() })
	for i := range all {
		n := &all[i]
		if j := slices.IndexFunc(last, func(o render.Neighbor) bool { return o.ID() == n.ID() }); j >= 0 && g.chance(50) {
			// As it was, if what it refers to is still there.
			if has(profiles, last[j].BFDProfile) {
				*n = last[j]
				continue
			}
		}
		if g.chance(50) {
			n.HoldTime = new(oneOf[time.Duration](g, 3, 9, 30, 90, 180) * time.Second)
		}
		if g.chance(30) {
			n.KeepaliveTime = new(oneOf[time.Duration](g, 1, 3, 60) * time.Second)
		}
		if g.chance(30) {
			n.ConnectTime = new(oneOf[time.Duration](g, 1, 10, 120) * time.Second)
		}
		if len(profiles) > 0 && g.chance(50) {
			n.BFDProfile = oneOf(g, profiles...).Name
		}
	}
	return all
}

// has reports whether a profile exists; no name means that none is needed.
func has(profiles []config.BFDProfile, name string) bool {
	return name == "" || slices.ContainsFunc(profiles, func(p config.BFDProfile) bool { return p.Name == name })
}

// networks returns some prefixes of a few dozen, and the classes that they are
// of.
func (g *generator) networks(neighbors []render.Neighbor) ([]render.Class, []render.Network) {
	var classes []render.Class
	for kind := range 8 {
		if g.chance(50) {
			continue
		}
		c := classOf(kind, neighbors)
		if !slices.ContainsFunc(classes, func(o render.Class) bool { return o.String() == c.String() }) {
			classes = append(classes, c)
		}
	}
	if len(classes) == 0 {
		return nil, nil
	}
	var all []render.Network
	for i := range 30 {
		if g.chance(50) {
			all = append(all, render.Network{
				Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32),
				Class:  g.IntN(len(classes)),
			})
		}
		if g.chance(30) {
			all = append(all, render.Network{
				Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i)),
				Class:  g.IntN(len(classes)),
			})
		}
	}
	slices.SortFunc(all, func(a, b render.Network) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return classes, all
}

// classOf returns the class of a kind. The same kind says the same to the same
// neighbor in every intent.
func classOf(kind int, neighbors []render.Neighbor) render.Class {
	var c render.Class
	for _, n := range neighbors {
		h := fnv.New64a()
		fmt.Fprint(h, n.ID())
		r := rand.New(rand.NewPCG(uint64(kind), h.Sum64()))
		if r.IntN(2) == 0 {
			continue
		}
		a := render.Attributes{Neighbor: n.ID(), LocalPref: []uint32{0, 0, 150, 4294967295}[r.IntN(4)]}
		for _, s := range []string{"65010:7", "65535:65281", "65535:666", "large:65010:1:2"} {
			if r.IntN(3) > 0 {
				continue
			}
			com, err := config.ParseCommunity(s)
			if err != nil {
				panic(err) // the list above is wrong
			}
			a.Communities = append(a.Communities, com)
		}
		slices.SortFunc(a.Communities, config.Community.Compare)
		if r.IntN(3) == 0 {
			a.MED = render.Metric{Set: true, Value: []uint32{0, 50, 4294967295}[r.IntN(3)]}
		}
		if r.IntN(3) == 0 && n.ASN != 64512 && n.DynamicASN != config.Internal {
			a.Prepend = slices.Repeat([]uint32{64512}, 1+r.IntN(10))
		}
		a.GracefulShutdown = r.IntN(4) == 0
		c.Attributes = append(c.Attributes, a)
	}
	return c
}
