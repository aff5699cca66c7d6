// SPDX-License-Identifier: Apache-2.0

package config

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
)

// A version is one version of an object that makes sense by itself. One field
// of those that hold what it says is set.
type version struct {
	object Object

	pool    *decodedPool
	profile *BFDProfile
	aliases []CommunityAlias
	peer    *decodedPeer
	bgp     *decodedBGP
	l2      *L2Advertisement
}

// A decodedPool is a pool with its addresses as written.
type decodedPool struct {
	Pool
	written []string // beside Addresses
}

// A decodedPeer is a peer whose references are not resolved.
type decodedPeer struct {
	Peer
	secret string // name of the Secret with the password; empty: none
}

// A decodedBGP is an advertisement whose communities are not resolved.
type decodedBGP struct {
	BGPAdvertisement
	communities []string // as written
}

// decode reads an object strictly. Its error has all that is wrong with it.
func decode(o Object) (*version, error) {
	d := &decoder{}
	v := &version{object: o}
	switch o.Kind {
	case KindPool:
		v.pool = d.pool(o)
	case KindBFDProfile:
		v.profile = d.profile(o)
	case KindCommunity:
		v.aliases = d.aliases(o)
	case KindPeer:
		v.peer = d.peer(o)
	case KindBGPAdvertisement:
		v.bgp = d.bgp(o)
	case KindL2Advertisement:
		v.l2 = d.l2(o)
	default:
		d.fail("kind", "unknown kind %s", quote(o.Kind))
	}
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return v, nil
}

// A decoder reads one object and collects what is wrong with it.
type decoder struct{ errs []error }

// fail reports a mistake in a field of the spec.
func (d *decoder) fail(path, format string, args ...any) {
	d.errs = append(d.errs, &FieldError{path, fmt.Sprintf(format, args...)})
}

// read fills raw, and reports whether it could.
func (d *decoder) read(o Object, raw any) bool {
	if len(o.Spec) == 0 {
		return true
	}
	unknown, err := json.UnmarshalStrict(o.Spec, raw)
	if err != nil {
		d.mistyped(err)
		return false
	}
	for _, err := range unknown {
		d.fail("spec", "%v", err)
	}
	return len(unknown) == 0
}

// mistyped reports a value of the wrong type, without showing it: it may be a
// password.
func (d *decoder) mistyped(err error) {
	var wrong *stdjson.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		d.fail("spec", "%v", err)
		return
	}
	path := "spec"
	if wrong.Field != "" {
		path += "." + wrong.Field
	}
	kind, value, _ := strings.Cut(wrong.Value, " ")
	if wrong.Type.Kind() != reflect.String && value != "" {
		kind += " " + value
	}
	d.fail(path, "want %s, not %s", typeName(wrong.Type), kind)
}

// typeName is how a JSON type is called where it is wanted.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a whole number in the range of " + t.String()
}

// annotations reads what the annotations of a pool say of it.
func (d *decoder) annotations(p *decodedPool, annotations map[string]string) {
	good := len(d.errs) == 0
	var err error
	if p.Quota, err = ParseQuota(annotations[AnnotationQuota]); err != nil {
		d.fail("metadata.annotations["+AnnotationQuota+"]", "%v", err)
	}
	if _, err := ParseRelease(annotations[AnnotationRelease]); err != nil {
		d.fail("metadata.annotations["+AnnotationRelease+"]", "%v", err)
	}
	if !good {
		return // which addresses can be reserved is not known
	}
	if p.Reservations, err = ParseReservations(annotations[AnnotationReservations], p.Pool); err != nil {
		d.fail("metadata.annotations["+AnnotationReservations+"]", "%v", err)
	}
}

func (d *decoder) pool(o Object) *decodedPool {
	var raw rawPool
	if !d.read(o, &raw) {
		return nil
	}
	p := &decodedPool{Pool: Pool{
		Name:          o.Name,
		Labels:        o.Labels,
		AutoAssign:    raw.AutoAssign == nil || *raw.AutoAssign,
		AvoidBuggyIPs: raw.AvoidBuggyIPs,
	}}
	if len(raw.Addresses) == 0 {
		d.fail("spec.addresses", "pool has no prefixes defined")
	}
	for i, s := range raw.Addresses {
		path := index("spec.addresses", i)
		r, err := ParseRange(s)
		if err != nil {
			if strings.Contains(s, "-") {
				d.fail(path, "%v", err)
			} else {
				d.fail(path, "invalid CIDR %q in pool %q: %v", s, o.Name, err)
			}
			continue
		}
		if j := slices.IndexFunc(p.Addresses, r.Overlaps); j >= 0 {
			d.fail(path, "CIDR %q in pool %q overlaps with already defined CIDR %q", s, o.Name, p.written[j])
			continue
		}
		p.Addresses = append(p.Addresses, r)
		p.written = append(p.written, s)
	}
	if a := raw.Allocation; a != nil {
		p.Allocation = &Allocation{
			Priority:           a.Priority,
			Namespaces:         a.Namespaces,
			NamespaceSelectors: d.selectors("spec.serviceAllocation.namespaceSelectors", a.NamespaceSelectors),
			ServiceSelectors:   d.selectors("spec.serviceAllocation.serviceSelectors", a.ServiceSelectors),
		}
		if _, dup := duplicate(a.Namespaces); dup {
			d.fail("spec.serviceAllocation.namespaces", "duplicate definition in namespaces field")
		}
	}
	d.annotations(p, o.Annotations)
	return p
}

func (d *decoder) profile(o Object) *BFDProfile {
	var raw rawBFDProfile
	if !d.read(o, &raw) {
		return nil
	}
	if err := checkProfileName(o.Name); err != nil {
		d.fail("metadata.name", "invalid bfd profile name %s: %v", quote(o.Name), err)
	}
	timer := func(field, what string, n *uint32, lo, hi uint32) uint32 {
		if n == nil {
			return 0
		}
		if *n < lo || *n > hi {
			d.fail("spec."+field, "invalid %s value: invalid value %d, must be in %d-%d range", what, *n, lo, hi)
		}
		return *n
	}
	return &BFDProfile{
		Name:             o.Name,
		ReceiveInterval:  timer("receiveInterval", "receive interval", raw.ReceiveInterval, 10, 60000),
		TransmitInterval: timer("transmitInterval", "transmit interval", raw.TransmitInterval, 10, 60000),
		DetectMultiplier: timer("detectMultiplier", "detect multiplier", raw.DetectMultiplier, 2, 255),
		EchoInterval:     timer("echoInterval", "echo interval", raw.EchoInterval, 10, 60000),
		MinimumTTL:       timer("minimumTtl", "minimum ttl", raw.MinimumTTL, 1, 254),
		EchoMode:         raw.EchoMode != nil && *raw.EchoMode,
		PassiveMode:      raw.PassiveMode != nil && *raw.PassiveMode,
	}
}

func (d *decoder) aliases(o Object) []CommunityAlias {
	var raw rawCommunity
	if !d.read(o, &raw) {
		return nil
	}
	out := []CommunityAlias{}
	for i, a := range raw.Communities {
		path := index("spec.communities", i)
		c, err := ParseCommunity(a.Value)
		switch {
		case a.Name == "":
			d.fail(path, "a community without a name")
		case err != nil:
			d.fail(path, "parsing community %q: invalid community value: %v", a.Name, err)
		case slices.ContainsFunc(out, func(o CommunityAlias) bool { return o.Name == a.Name }):
			d.fail(path, "duplicate definition of community %q", a.Name)
		default:
			out = append(out, CommunityAlias{a.Name, c})
		}
	}
	return out
}

// scope reads what both kinds of advertisements say of whom they are about.
func (d *decoder) scope(raw rawScope) (pools, nodes, services []Selector) {
	d.unique("spec.ipAddressPools", raw.Pools)
	return d.selectors("spec.ipAddressPoolSelectors", raw.PoolSelectors),
		d.selectors("spec.nodeSelectors", raw.NodeSelectors),
		d.selectors("spec.serviceSelectors", raw.ServiceSelectors)
}

func (d *decoder) bgp(o Object) *decodedBGP {
	var raw rawBGPAdvertisement
	if !d.read(o, &raw) {
		return nil
	}
	ad := &decodedBGP{BGPAdvertisement: BGPAdvertisement{
		Name:                o.Name,
		Pools:               raw.Pools,
		Peers:               raw.Peers,
		AggregationLength:   d.aggregation("aggregationLength", "IPv4", raw.AggregationLength, 32),
		AggregationLengthV6: d.aggregation("aggregationLengthV6", "IPv6", raw.AggregationLengthV6, 128),
		LocalPref:           raw.LocalPref,
		MED:                 raw.MED,
		Prepend:             raw.Prepend,
		GracefulShutdown:    raw.GracefulShutdown,
	}, communities: raw.Communities}
	ad.PoolSelectors, ad.NodeSelectors, ad.ServiceSelectors = d.scope(raw.rawScope)
	d.unique("spec.peers", raw.Peers)
	if s, dup := duplicate(raw.Communities); dup {
		d.fail("spec.communities", "duplicate definition of community %q", s)
	}
	if len(raw.Communities) > maxCommunities {
		d.fail("spec.communities", "%d communities, at most %d fit in a command of FRR", len(raw.Communities), maxCommunities)
	}
	if len(ad.ServiceSelectors) > 0 {
		if ad.AggregationLength != 32 {
			d.fail("spec", "serviceSelectors and aggregationLength are mutually exclusive, both cannot be set in %s", o.Name)
		}
		if ad.AggregationLengthV6 != 128 {
			d.fail("spec", "serviceSelectors and aggregationLengthV6 are mutually exclusive, both cannot be set in %s", o.Name)
		}
	}
	if raw.Prepend < 0 || raw.Prepend > 10 {
		d.fail("spec.asPathPrepend", "%d is out of range, must be 0 to 10", raw.Prepend)
	}
	return ad
}

func (d *decoder) aggregation(field, family string, n *int32, bits int32) int {
	if n == nil {
		return int(bits)
	}
	if *n < 1 || *n > bits {
		d.fail("spec."+field, "invalid aggregation length %d for %s, must be 1 to %d", *n, family, bits)
	}
	return int(*n)
}

func (d *decoder) l2(o Object) *L2Advertisement {
	var raw rawL2Advertisement
	if !d.read(o, &raw) {
		return nil
	}
	ad := &L2Advertisement{Name: o.Name, Pools: raw.Pools, Interfaces: raw.Interfaces}
	ad.PoolSelectors, ad.NodeSelectors, ad.ServiceSelectors = d.scope(raw.rawScope)
	for i, p := range raw.PreferredNodes {
		path := index("spec.preferredNodeSelectors", i)
		if p.Weight < 1 || p.Weight > 100 {
			d.fail(path, "invalid preferred node selector: weight %d is out of range, must be 1 to 100", p.Weight)
		}
		s, err := NewSelector(p.Preference)
		if err != nil {
			d.fail(path, "invalid preferred node selector: %v", err)
			continue
		}
		ad.PreferredNodes = append(ad.PreferredNodes, PreferredNode{int(p.Weight), s})
	}
	return ad
}

// selectors reads label selectors, none of which may be there twice.
func (d *decoder) selectors(path string, raw []metav1.LabelSelector) []Selector {
	var out []Selector
	for i, r := range raw {
		at := index(path, i)
		for j, x := range r.MatchExpressions {
			if slices.ContainsFunc(r.MatchExpressions[:j], func(o metav1.LabelSelectorRequirement) bool { return reflect.DeepEqual(o, x) }) {
				d.fail(at, "duplicate definition of matchExpressions %q", x.Key)
			}
			if v, dup := duplicate(x.Values); dup {
				d.fail(at, "duplicate definition of values %q", v)
			}
		}
		s, err := NewSelector(r)
		if err != nil {
			d.fail(at, "invalid label selector: %v", err)
			continue
		}
		if slices.ContainsFunc(out, s.Equal) {
			d.fail(at, "duplicate definition of %s %q", path[strings.LastIndex(path, ".")+1:], s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// unique reports names that a list has twice.
func (d *decoder) unique(path string, names []string) {
	if s, dup := duplicate(names); dup {
		d.fail(path, "duplicate definition of %s %q", path[strings.LastIndex(path, ".")+1:], s)
	}
}

// duplicate returns the first string that is there a second time.
func duplicate(all []string) (string, bool) {
	for i, s := range all {
		if slices.Contains(all[:i], s) {
			return s, true
		}
	}
	return "", false
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
