// SPDX-License-Identifier: Apache-2.0

package members

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Profile says how soon a silent agent is declared dead. The sooner, the more traffic it
// costs, and the more often an agent is declared dead that is only slow.
type Profile string

// The profiles. All agents of a cluster need the same one.
const (
	Fast   Profile = "fast"   // 0.16 s if its machine is silent too or its process has ended, else 0.8 s; the default
	Normal Profile = "normal" // 5 to 6.5 s: memberlist's timers for a LAN
	WAN    Profile = "wan"    // about a minute: memberlist's timers for a WAN
)

// ParseProfile returns the profile of that name.
func ParseProfile(name string) (Profile, error) {
	switch p := Profile(name); p {
	case Fast, Normal, WAN:
		return p, nil
	}
	return "", fmt.Errorf("liveness profile %q: want fast, normal or wan", name)
}

// timers are the timers of a Profile.
type timers struct {
	network *memberlist.Config // without a name, an address, a key or delegates
	beat    time.Duration      // between two checks whether the agent runs, and two heartbeats
	rejoin  time.Duration      // between two attempts to reach a missing peer
	leave   time.Duration      // at most, to leave
	deny    time.Duration      // for a member that memberlist has declared dead, to say that it is not: a few of its intervals of gossip
	stale   time.Duration      // the others may declare an agent dead that does not run for so long
	watches bool               // nodes that announce addresses are watched: see List.watch
}

// probed is the shortest time in which memberlist declares an agent dead: one failed probe
// and the time to refute it.
func probed(c *memberlist.Config) time.Duration {
	return c.ProbeInterval * time.Duration(1+c.SuspicionMult)
}

func (p Profile) timers() timers {
	switch p {
	case Normal:
		c := memberlist.DefaultLANConfig()
		return timers{c, time.Second, 5 * time.Second, time.Second, 2 * c.GossipInterval, probed(c), false}
	case WAN:
		c := memberlist.DefaultWANConfig()
		return timers{c, time.Second, 10 * time.Second, 2 * time.Second, 2 * c.GossipInterval, probed(c), false}
	}
	c := memberlist.DefaultLANConfig()
	// A failed probe takes ProbeInterval. A suspect then has
	// SuspicionMult × max(1, log10(nodes)) × ProbeInterval to refute it. Watchers are
	// sooner, and memberlist is for what they cannot decide. A prober that gets no
	// processor for so long does not read the answers in time.
	c.ProbeInterval = 100 * time.Millisecond
	c.ProbeTimeout = 50 * time.Millisecond
	c.SuspicionMult = 14
	c.SuspicionMaxTimeoutMult = 1
	c.GossipInterval = 50 * time.Millisecond
	// An agent that considers itself slow multiplies its probe interval by up to this.
	// Often it is the probed node that is slow, and each step delays the detection of a
	// crash by ProbeInterval.
	c.AwarenessMaxMultiplier = 2
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = time.Second
	return timers{c, 50 * time.Millisecond, time.Second, time.Second, 4 * c.GossipInterval, 800 * time.Millisecond, true}
}
