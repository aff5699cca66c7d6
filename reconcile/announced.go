// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// ConditionAnnounced says whether some node was seen to announce the Service.
const ConditionAnnounced = ownPrefix + "Announced"

// ReasonNotAnnounced is the reason of a ConditionAnnounced that is False though
// the Service has an address and an advertisement. Its other reasons are
// status.Announced, status.NoAddress and status.NoAdvertisement.
const ReasonNotAnnounced status.Reason = "NotAnnounced"

const (
	// announcedSettle is how long a ConditionAnnounced waits before it changes,
	// so that what several nodes find out at about the same time is one write.
	announcedSettle = 500 * time.Millisecond
	// announcedDoubt is how long one waits before it becomes False.
	announcedDoubt = 2 * time.Second
)

// Announcements say what nodes were seen to announce.
type Announcements interface {
	// Announced returns what is known, and whether all that there is to read has
	// been read. It must not block.
	Announced() (a Announced, read bool)
	// Run reads until the context is canceled.
	Run(ctx context.Context) error
}

// Announced is what nodes were seen to announce. It is immutable.
type Announced struct {
	Told  bool           // nodes can tell
	Words map[Key]string // by Service, who announces it; none: nobody
}

// announced is what a controller remembers of ConditionAnnounced from pass to
// pass. It completes Plans, and causes no write that can be part of another.
type announced struct {
	since map[Key]time.Time // when a Service's condition was first seen not to be as it should be

	config *config.Config // that pools was made from
	pools  poolIndex
}

// complete adds to a Plan what Services are to say of who announces them.
func (m *announced) complete(plan Plan, s Snapshot, a Announced, class string, now time.Time) Plan {
	if s.Config.Config == nil {
		return plan
	}
	if m.config != s.Config.Config {
		m.config, m.pools = s.Config.Config, newPoolIndex(*s.Config.Config)
	}
	updates, rest := make([]Update, 0, len(plan.Updates)), plan.Updates
	since := make(map[Key]time.Time)
	for _, svc := range s.Services {
		var u *Update
		if len(rest) > 0 && rest[0].Service == svc {
			updates = append(updates, rest[0])
			u, rest = &updates[len(updates)-1], rest[1:]
		}
		if !svc.LoadBalancer || svc.Class != class {
			continue
		}
		next := Update{Service: svc, Condition: svc.condition(ConditionAddressAssigned)}
		if u != nil {
			next.Condition, next.Ingress = u.Condition, u.Ingress
		}
		if next.Condition == nil {
			continue // it is not Herald's, or not any more
		}
		if u == nil {
			next.Ingress, next.Pool = parseIngress(svc.Ingress), svc.Annotations[AnnotationPool]
		}
		have, want := svc.condition(ConditionAnnounced), m.verdict(svc, next.Ingress, a)
		if have == nil && want == nil || have != nil && want != nil && *have == *want {
			continue
		}
		first, ok := m.since[svc.Key]
		if !ok {
			first = now
		}
		since[svc.Key] = first
		if due := first.Add(patience(have, want)); now.Before(due) {
			if plan.Next.IsZero() || due.Before(plan.Next) {
				plan.Next = due
			}
			continue
		}
		if u == nil {
			updates = append(updates, next)
			u = &updates[len(updates)-1]
		}
		u.Announced, u.Unannounced = want, want == nil
	}
	plan.Updates, m.since = updates, since
	return plan
}

// patience returns how long a condition that is to change stays as it is. What
// the configuration alone says of a Service needs none, unless it was announced.
func patience(have, want *Condition) time.Duration {
	switch {
	case want == nil:
		return announcedDoubt
	case want.True:
		return announcedSettle
	case want.Reason == ReasonNotAnnounced || have != nil && have.True:
		return announcedDoubt
	}
	return 0
}

// verdict returns the condition that a Service with these addresses should have;
// nil if that cannot be told.
func (m *announced) verdict(svc *Service, addrs []netip.Addr, a Announced) *Condition {
	if len(addrs) == 0 {
		return &Condition{Type: ConditionAnnounced, Reason: status.NoAddress, Message: "the Service has no address"}
	}
	if words := a.Words[svc.Key]; words != "" {
		return &Condition{Type: ConditionAnnounced, True: true, Reason: status.Announced, Message: words}
	}
	if lack := m.unadvertised(svc, addrs); lack != "" {
		return &Condition{Type: ConditionAnnounced, Reason: status.NoAdvertisement, Message: lack}
	}
	if !a.Told {
		return nil
	}
	return &Condition{Type: ConditionAnnounced, Reason: ReasonNotAnnounced, Message: "no node announces it"}
}

// unadvertised says why no node may announce any of the addresses; it is empty if
// one may.
func (m *announced) unadvertised(svc *Service, addrs []netip.Addr) string {
	var lacks []string
	for _, addr := range addrs {
		pool := m.pools.find(addr)
		switch {
		case pool == nil:
			return ""
		case len(pool.bgp)+len(pool.layer2) == 0:
			lacks = append(lacks, fmt.Sprintf("pool %s has no advertisement", pool.name))
			continue
		}
		for _, ad := range pool.bgp {
			if config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
				return ""
			}
		}
		for _, ad := range pool.layer2 {
			if config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
				return ""
			}
		}
		lacks = append(lacks, fmt.Sprintf("no advertisement of pool %s selects the Service", pool.name))
	}
	if len(lacks) == 2 && lacks[0] == lacks[1] {
		lacks = lacks[:1]
	}
	return strings.Join(lacks, "; ")
}
