// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// ProtectOptions say how addresses that Services use are protected from edits of
// the configuration.
type ProtectOptions struct {
	Class string // optional: the loadBalancerClass that is handled; empty: Services without one

	// Recorded returns what the leading controller has recorded about the ConfigMap, and
	// whether that was read yet.
	Recorded func() (Recorded, bool) // optional: without it a process that starts trusts the text
}

// A Recorded is the leading controller's record about the text of the ConfigMap.
type Recorded struct {
	Pools    []byte // the part of the text that is in force, as config.PoolsOf returns it; nil: none
	Withheld string // the version whose pools it holds back; empty: none
}

// withholds reports whether the leading controller holds back pools of a document.
func (r Recorded) withholds(d Document) bool {
	return r.Withheld != "" && r.Withheld == d.Version && len(r.Pools) > 0
}

// A Protector adds to documents which addresses are in use.
type Protector struct {
	opts  ProtectOptions
	judge bool // as in config.Protection
}

// NewProtector returns a protector; nil without options.
func NewProtector(opts *ProtectOptions, judge bool) *Protector {
	if opts == nil {
		return nil
	}
	return &Protector{*opts, judge}
}

// add completes a document, and reports whether enough is known for that.
func (p *Protector) add(d *Document, snapshot func() cluster.Snapshot, l Loaded) bool {
	var recorded Recorded
	if d.Text != nil && p.opts.Recorded != nil {
		var read bool
		if recorded, read = p.opts.Recorded(); !read && l.Config == nil {
			return false
		}
	}
	d.Recorded = recorded
	if !l.settled(*d) {
		*d = p.Protect(*d, snapshot())
	} else {
		d.Protection = &config.Protection{Judge: p.judge} // it is not looked at
	}
	return true
}

// Protect adds to a document which addresses are in use.
func (p *Protector) Protect(d Document, s cluster.Snapshot) Document {
	d.Protection = &config.Protection{InUse: inUse(s, p.opts.Class), Judge: p.judge}
	return d
}

// inUse returns the addresses that Services have by their statuses.
func inUse(s cluster.Snapshot, class string) []config.Use {
	var out []config.Use
	for _, svc := range s.Services {
		if !svc.LoadBalancer || svc.Class != class {
			continue
		}
		for _, a := range cluster.ParseIngress(svc.Ingress) {
			out = append(out, config.Use{
				Addr: a, Service: svc.Key.String(), Namespace: svc.Namespace,
				Labels: svc.Labels, NamespaceLabels: s.Namespaces[svc.Namespace],
			})
		}
	}
	return out
}

// take puts a text in force, which has been parsed; but not those of its pools that
// take away what Services use.
func (l Loaded) take(d Document, c *config.Config) Loaded {
	n := l
	n.Withheld = false
	if d.Protection == nil {
		n.Config, n.Accepted, n.Resolved, n.Pools = c, d, nil, nil
		return n
	}
	released, misread := config.ParseRelease(d.Release)
	base, err := config.Parse(l.base(d))
	if err != nil { // there is none
		base = &config.Config{}
	}
	lost, names := lostOf(d.Protection, base, c, released)
	if len(lost) == 0 {
		n.Config, n.Accepted, n.Resolved = c, d, nil
		n.Pools, _ = config.PoolsOf(d.Text) // without it nothing is remembered
		return n
	}
	n.Withheld = true
	n.Err = fmt.Errorf("%s: its pools %s stay as they were: the edit would take %s",
		d.Source, strings.Join(names, ", "), config.TellUses(lost))
	if misread != nil {
		n.Err = fmt.Errorf("%w; metadata.annotations[%s]: %w", n.Err, config.AnnotationRelease, misread)
	}
	// First with those pools as they were, then with all of them.
	for _, names := range [][]string{names, nil} {
		text, err := config.WithPools(d.Text, l.base(d), names)
		if err != nil {
			break
		}
		merged, err := config.Parse(text)
		if err != nil {
			continue
		}
		if still, _ := lostOf(d.Protection, base, merged, released); len(still) > 0 {
			continue
		}
		if l.Config == nil || !reflect.DeepEqual(merged, l.Config) {
			n.Config = merged
		}
		if l.Source() != SourceConfigMap {
			n.Accepted = Document{Source: d.Source}
		}
		n.Resolved = nil
		n.Pools, _ = config.PoolsOf(text)
		break
	}
	return n
}

// base returns the pools that were in force before a text: in this process, or as the
// leading controller says.
func (l Loaded) base(d Document) []byte {
	if l.Config == nil || d.Recorded.withholds(d) {
		return d.Recorded.Pools
	}
	return l.Pools
}

// lostOf returns what Services would lose if one configuration took the place of
// another, and of which pools.
func lostOf(p *config.Protection, before, after *config.Config, released []config.Range) (lost []config.Use, names []string) {
	var now []*config.Pool
	for i := range after.Pools {
		now = append(now, &after.Pools[i])
	}
	for i := range before.Pools {
		if uses := p.Lost(&before.Pools[i], now, released); len(uses) > 0 {
			lost, names = append(lost, uses...), append(names, before.Pools[i].Name)
		}
	}
	return lost, names
}
