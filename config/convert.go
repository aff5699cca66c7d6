// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/yaml"
)

// ConvertOptions say how to write resources.
type ConvertOptions struct {
	Namespace string            // required: where they go
	Rename    map[string]string // optional: other names for pools and BFD profiles
}

// Convert writes the manifests of resources that say what a ConfigMap does, as
// Parse read it. It refuses what resources cannot say, and proves the rest: the
// resources are read back and compared. The notes are for
// the operator to look at.
func Convert(c *Config, opts ConvertOptions) (manifests []byte, notes []string, err error) {
	w := &converter{opts: opts, communities: map[Community]string{}}
	c, empty := withoutEmptyPools(c)
	if err := onePreference(c); err != nil {
		return nil, nil, err
	}
	renamed, notes, err := w.rename(c)
	if err != nil {
		return nil, nil, err
	}
	notes = append(empty, notes...)
	w.write(renamed)
	if w.err != nil {
		return nil, nil, w.err
	}
	if err := prove(renamed, w.out.Bytes()); err != nil {
		return nil, nil, err
	}
	return w.out.Bytes(), append(notes, orderNotes(renamed)...), nil
}

// withoutEmptyPools returns c without the pools that have no address which a
// Service can have, and their advertisements: such a resource is refused.
func withoutEmptyPools(c *Config) (*Config, []string) {
	empty := map[string]bool{}
	var notes []string
	for _, p := range c.Pools {
		if len(p.Addresses) == 0 {
			empty[p.Name] = true
			notes = append(notes, fmt.Sprintf("pool %s is left out: it has no address that a Service can have", quote(p.Name)))
		}
	}
	if len(empty) == 0 {
		return c, nil
	}
	out := *c
	out.Pools = slices.DeleteFunc(slices.Clone(c.Pools), func(p Pool) bool { return empty[p.Name] })
	out.BGPAdvertisements = slices.DeleteFunc(slices.Clone(c.BGPAdvertisements), func(a BGPAdvertisement) bool { return empty[a.Pools[0]] })
	out.L2Advertisements = slices.DeleteFunc(slices.Clone(c.L2Advertisements), func(a L2Advertisement) bool { return empty[a.Pools[0]] })
	return &out, notes
}

// onePreference reports advertisements whose routes have another local
// preference in each family, which is more than a resource can say.
func onePreference(c *Config) error {
	var errs []error
	for _, a := range c.BGPAdvertisements {
		if a.LocalPrefV6 != nil {
			errs = append(errs, fmt.Errorf("advertisement %s: its IPv4 routes have the localpref %d and its IPv6 routes %d, as others of pool %s make the same routes, and a BGPAdvertisement has one; "+
				"give it another aggregation-length-v6, or both families one localpref", quote(a.Name), a.LocalPref, *a.LocalPrefV6, quote(a.Pools[0])))
		}
	}
	return errors.Join(errs...)
}

// objectName is what Kubernetes takes for the name of such an object.
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

const maxObjectName = 253

// A converter writes resources.
type converter struct {
	opts        ConvertOptions
	communities map[Community]string // names of theirs
	out         bytes.Buffer
	err         error
}

// rename returns a copy of c with the names that its objects will have.
func (w *converter) rename(c *Config) (*Config, []string, error) {
	var errs []error
	var notes []string
	unused := maps.Clone(w.opts.Rename)
	name := func(what, old string) string {
		renamed := cmp.Or(w.opts.Rename[old], old)
		delete(unused, old)
		if !objectName.MatchString(renamed) || len(renamed) > maxObjectName {
			errs = append(errs, fmt.Errorf("%s %s: no name for an object of Kubernetes; give it another, such as %s=%s", what, quote(old), old, suggestName(old)))
		}
		return renamed
	}
	out := *c
	out.Pools, out.Peers = slices.Clone(c.Pools), slices.Clone(c.Peers)
	out.BFDProfiles = slices.Clone(c.BFDProfiles)
	out.BGPAdvertisements, out.L2Advertisements = slices.Clone(c.BGPAdvertisements), slices.Clone(c.L2Advertisements)
	for i := range out.Pools {
		p := &out.Pools[i]
		old := p.Name
		if p.Name = name("pool", old); p.Name != old {
			notes = append(notes, fmt.Sprintf("pool %s is now %s: Services that ask for it by an annotation must name that", quote(old), p.Name))
		}
	}
	for i := range out.BFDProfiles {
		out.BFDProfiles[i].Name = name("bfd profile", out.BFDProfiles[i].Name)
	}
	renamed := func(old string) string { return cmp.Or(w.opts.Rename[old], old) }
	width := len(fmt.Sprint(len(out.Peers)))
	for i := range out.Peers {
		p := &out.Peers[i]
		p.Name = fmt.Sprintf("peer%0*d", width, i+1) // the first sets what a node has one of
		p.BFDProfile = renamed(p.BFDProfile)
	}
	for i := range out.BGPAdvertisements {
		ad := &out.BGPAdvertisements[i]
		old := ad.Pools[0]
		ad.Name, ad.Pools = renamed(old)+strings.TrimPrefix(ad.Name, old), []string{renamed(old)}
	}
	for i := range out.L2Advertisements {
		ad := &out.L2Advertisements[i]
		ad.Name, ad.Pools = renamed(ad.Name), []string{renamed(ad.Pools[0])}
	}
	for _, old := range slices.Sorted(maps.Keys(unused)) {
		errs = append(errs, fmt.Errorf("rename %s: there is no such pool or bfd profile", quote(old)))
	}
	errs = append(errs, collisions("pool", out.Pools, func(p Pool) string { return p.Name }),
		collisions("bfd profile", out.BFDProfiles, func(b BFDProfile) string { return b.Name }),
		collisions("advertisement", out.BGPAdvertisements, func(a BGPAdvertisement) string { return a.Name }))
	return &out, notes, errors.Join(errs...)
}

// collisions reports two objects that would have one name.
func collisions[T any](what string, all []T, name func(T) string) error {
	var names []string
	for _, o := range all {
		names = append(names, name(o))
	}
	if s, dup := duplicate(names); dup {
		return fmt.Errorf("two of the name %s: %s", quote(s), what)
	}
	return nil
}

// suggestName returns a name for an object that is like s.
func suggestName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return cmp.Or(strings.Trim(s, "-"), "NAME")
}

// write writes all objects.
func (w *converter) write(c *Config) {
	for _, a := range c.Communities {
		if _, taken := w.communities[a.Value]; !taken {
			w.communities[a.Value] = a.Name
		}
	}
	for _, p := range c.Peers {
		w.peer(p)
	}
	for _, p := range c.Pools {
		spec := rawPool{AvoidBuggyIPs: p.AvoidBuggyIPs}
		if !p.AutoAssign {
			spec.AutoAssign = new(bool)
		}
		for _, r := range p.Addresses {
			spec.Addresses = append(spec.Addresses, r.String())
		}
		w.object(KindPool, p.Name, spec)
	}
	for _, a := range c.BGPAdvertisements {
		spec := rawBGPAdvertisement{rawScope: rawScope{Pools: a.Pools}, LocalPref: a.LocalPref}
		if n := int32(a.AggregationLength); n != 32 {
			spec.AggregationLength = &n
		}
		if n := int32(a.AggregationLengthV6); n != 128 {
			spec.AggregationLengthV6 = &n
		}
		for _, c := range a.Communities {
			text, err := c.MarshalText()
			if err != nil {
				w.err = err
			}
			spec.Communities = append(spec.Communities, cmp.Or(w.communities[c], string(text)))
		}
		w.object(KindBGPAdvertisement, a.Name, spec)
	}
	for _, a := range c.L2Advertisements {
		w.object(KindL2Advertisement, a.Name, rawL2Advertisement{rawScope: rawScope{Pools: a.Pools}})
	}
	for _, b := range c.BFDProfiles {
		w.object(KindBFDProfile, b.Name, rawBFDProfile{
			ReceiveInterval: nonZero(b.ReceiveInterval), TransmitInterval: nonZero(b.TransmitInterval),
			DetectMultiplier: nonZero(b.DetectMultiplier), EchoInterval: nonZero(b.EchoInterval), MinimumTTL: nonZero(b.MinimumTTL),
			EchoMode: nonZero(b.EchoMode), PassiveMode: nonZero(b.PassiveMode),
		})
	}
	if len(c.Communities) > 0 {
		var spec rawCommunity
		for _, a := range c.Communities {
			text, err := a.Value.MarshalText()
			if err != nil {
				w.err = err
			}
			spec.Communities = append(spec.Communities, rawAlias{a.Name, string(text)})
		}
		w.object(KindCommunity, "communities", spec)
	}
}

// peer writes a peer, and its password as a Secret.
func (w *converter) peer(p Peer) {
	spec := rawPeer{
		MyASN: p.MyASN, PeerASN: p.PeerASN, Port: p.Port, BFDProfile: p.BFDProfile, EBGPMultiHop: p.EBGPMultiHop,
		DualStack: p.DualStack, Address: p.Address.String(), HoldTime: durationText(p.HoldTime), KeepaliveTime: durationText(p.KeepaliveTime),
	}
	if p.TTLSecurity != 0 {
		spec.TTLSecurity = new(int64(p.TTLSecurity))
	}
	if p.SourceAddress.IsValid() {
		spec.SourceAddress = p.SourceAddress.String()
	}
	if p.RouterID.IsValid() {
		spec.RouterID = p.RouterID.String()
	}
	for _, s := range p.NodeSelectors {
		spec.NodeSelectors = append(spec.NodeSelectors, labelSelector(s))
	}
	if !p.Password.IsZero() {
		name := p.Name + "-password"
		spec.PasswordSecret = rawSecretReference{Name: name, Namespace: w.opts.Namespace}
		w.manifest(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": w.metadata(name),
			"type": PasswordSecretType, "stringData": map[string]string{PasswordSecretKey: p.Password.Reveal()},
		})
	}
	w.object(KindPeer, p.Name, spec)
}

func (w *converter) object(kind, name string, spec any) {
	w.manifest(map[string]any{"apiVersion": resourceVersions(kind)[0], "kind": kind, "metadata": w.metadata(name), "spec": spec})
}

func (w *converter) metadata(name string) map[string]string {
	return map[string]string{"name": name, "namespace": w.opts.Namespace}
}

func (w *converter) manifest(o map[string]any) {
	b, err := yaml.Marshal(o)
	if err != nil {
		w.err = err
		return
	}
	if w.out.Len() > 0 {
		w.out.WriteString("---\n")
	}
	w.out.Write(b)
}

func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func durationText(d *time.Duration) *string {
	if d == nil {
		return nil
	}
	s := d.String()
	return &s
}

// labelSelector returns what NewSelector made s from.
func labelSelector(s Selector) metav1.LabelSelector {
	var out metav1.LabelSelector
	requirements, _ := s.s.Requirements()
	for _, r := range requirements {
		values := r.ValuesUnsorted()
		if _, taken := out.MatchLabels[r.Key()]; r.Operator() == selection.Equals && !taken {
			if out.MatchLabels == nil {
				out.MatchLabels = map[string]string{}
			}
			out.MatchLabels[r.Key()] = values[0]
			continue
		}
		x := metav1.LabelSelectorRequirement{Key: r.Key(), Values: values}
		slices.Sort(x.Values)
		switch r.Operator() {
		case selection.NotIn:
			x.Operator = metav1.LabelSelectorOpNotIn
		case selection.Exists:
			x.Operator = metav1.LabelSelectorOpExists
		case selection.DoesNotExist:
			x.Operator = metav1.LabelSelectorOpDoesNotExist
		default:
			x.Operator = metav1.LabelSelectorOpIn
		}
		out.MatchExpressions = append(out.MatchExpressions, x)
	}
	return out
}

// prove reports where manifests do not say what c does.
func prove(c *Config, manifests []byte) error {
	r, _, err := ReadResources(manifests)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	resolved := Resolved{}.Next(r)
	if err := resolved.Err(); err != nil {
		return fmt.Errorf("no resources say this: %w", err)
	}
	want, got := sorted(c), sorted(resolved.Config)
	for _, part := range []struct {
		what      string
		want, got any
	}{
		{"pools", want.Pools, got.Pools},
		{"peers", want.Peers, got.Peers},
		{"BGP advertisements", want.BGPAdvertisements, got.BGPAdvertisements},
		{"layer 2 advertisements", want.L2Advertisements, got.L2Advertisements},
		{"BFD profiles", want.BFDProfiles, got.BFDProfiles},
		{"communities", want.Communities, got.Communities},
	} {
		a, err := json.Marshal(part.want)
		if err != nil {
			return err
		}
		b, err := json.Marshal(part.got)
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("no resources say this of %s: want %s, got %s", part.what, a, b)
		}
	}
	for i := range want.Peers {
		if want.Peers[i].Password != got.Peers[i].Password { // which JSON does not show
			return fmt.Errorf("no Secret holds the password of %s", want.Peers[i].Name)
		}
	}
	return nil
}

// sorted returns a copy of c with all lists in the order of names, and no lists
// that are empty.
func sorted(c *Config) *Config {
	return &Config{
		Pools:             byName(c.Pools, func(p Pool) string { return p.Name }),
		Peers:             byName(c.Peers, func(p Peer) string { return p.Name }),
		BGPAdvertisements: byName(c.BGPAdvertisements, func(a BGPAdvertisement) string { return a.Name }),
		L2Advertisements:  byName(c.L2Advertisements, func(a L2Advertisement) string { return a.Name }),
		BFDProfiles:       byName(c.BFDProfiles, func(b BFDProfile) string { return b.Name }),
		Communities:       byName(c.Communities, func(a CommunityAlias) string { return a.Name }),
	}
}

func byName[T any](all []T, name func(T) string) []T {
	return slices.SortedStableFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}

// orderNotes says where the order of the document counted: resources have none
// but that of their names.
func orderNotes(c *Config) []string {
	var names []string
	for _, p := range c.Pools {
		if p.AutoAssign {
			names = append(names, p.Name)
		}
	}
	if slices.IsSorted(names) {
		return nil
	}
	return []string{fmt.Sprintf("pools are tried in the order of their names, no more in that of the document (%s); spec.serviceAllocation.priority sets another",
		strings.Join(names, ", "))}
}
