// SPDX-License-Identifier: Apache-2.0

package config

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	written []writtenAddresses // beside Addresses
}

// writtenAddresses are an item of spec.addresses.
type writtenAddresses struct {
	index int
	text  string
	whole Range // with the addresses that no Service can have
}

func (w writtenAddresses) path() string { return index("spec.addresses", w.index) }

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
		d.mistyped(o, raw, err)
		return false
	}
	for _, err := range unknown {
		d.unknown(reflect.TypeOf(raw), err)
	}
	return len(unknown) == 0
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// unknown reports a field that a spec of type t does not have, and which was
// probably meant.
func (d *decoder) unknown(t reflect.Type, err error) {
	m := unknownField.FindStringSubmatch(err.Error())
	if m == nil {
		d.fail("spec", "%v", err) // it is there twice
		return
	}
	path := strings.Split(m[1], ".")
	last := len(path) - 1
	for _, name := range path[:last] {
		name, _, _ = strings.Cut(name, "[")
		t = elem(jsonFields(elem(t))[name])
	}
	known := slices.Sorted(maps.Keys(jsonFields(elem(t))))
	if meant := closest(path[last], known); meant != "" {
		d.fail("spec."+m[1], "unknown field, did you mean %q?", meant)
		return
	}
	d.fail("spec."+m[1], "unknown field, want one of %s", strings.Join(known, ", "))
}

// mistyped reports a value of the wrong type, without showing a string: it may
// be a password.
func (d *decoder) mistyped(o Object, raw any, err error) {
	var wrong *stdjson.UnmarshalTypeError
	var written any
	if errors.As(err, &wrong) && stdjson.Unmarshal(o.Spec, &written) == nil {
		if m, found := findMistype(reflect.TypeOf(raw), written, "spec"); found {
			d.fail(m.path, "want %s, not %s", m.want, m.got)
			return
		}
	}
	d.fail("spec", "%v", err)
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

// annotations reads the annotations of a pool.
func (d *decoder) annotations(p *decodedPool, annotations map[string]string) {
	good := len(d.errs) == 0
	var err error
	if p.Quota, err = ParseQuota(annotations[AnnotationQuota]); err != nil {
		d.fail("metadata.annotations["+AnnotationQuota+"]", "%v", err)
	}
	if p.Separate, err = ParsePoolSharing(annotations[AnnotationPoolSharing], p.Quota); err != nil {
		d.fail("metadata.annotations["+AnnotationPoolSharing+"]", "%v", err)
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
	d.addresses(p, raw.Addresses)
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

// addresses reads the addresses of a pool. Those that no Service can have are
// left out; a pool that has no others is refused.
func (d *decoder) addresses(p *decodedPool, written []string) {
	before := len(d.errs)
	for i, s := range written {
		path := index("spec.addresses", i)
		r, err := ParseRange(s)
		if err != nil {
			if strings.Contains(s, "-") {
				d.fail(path, "%v", err)
			} else {
				d.fail(path, "invalid CIDR %q in pool %q: %s", s, p.Name, strings.TrimPrefix(err.Error(), fmt.Sprintf("invalid CIDR %q: ", s)))
			}
			continue
		}
		if j := slices.IndexFunc(p.Addresses, r.Overlaps); j >= 0 {
			d.fail(path, "CIDR %q in pool %q overlaps with already defined CIDR %q", s, p.Name, p.written[j].text)
			continue
		}
		p.Remarks = append(p.Remarks, rangeRemarks(s, r)...)
		parts, _ := r.usable()
		for _, part := range parts {
			p.Addresses = append(p.Addresses, part)
			p.written = append(p.written, writtenAddresses{i, s, r})
		}
	}
	if len(p.Addresses) > 0 || len(d.errs) > before {
		return
	}
	for i, s := range written {
		if r, err := ParseRange(s); err == nil {
			_, rest := r.usable()
			d.fail(index("spec.addresses", i), "%s", unusableText(s, rest))
		}
	}
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

// scope reads what both kinds of advertisements apply to.
func (d *decoder) scope(raw rawScope) Scope {
	d.unique("spec.ipAddressPools", raw.Pools)
	if raw.MinReady < 0 || raw.MinReady > maxMinReady {
		d.fail("spec.minReadyEndpoints", "%d is out of range, must be 0 to %d", raw.MinReady, maxMinReady)
	}
	return Scope{
		MinReady:         raw.MinReady,
		Probe:            d.probe(raw.Probe),
		Pools:            raw.Pools,
		PoolSelectors:    d.selectors("spec.ipAddressPoolSelectors", raw.PoolSelectors),
		NodeSelectors:    d.selectors("spec.nodeSelectors", raw.NodeSelectors),
		ServiceSelectors: d.selectors("spec.serviceSelectors", raw.ServiceSelectors),
	}
}

func (d *decoder) bgp(o Object) *decodedBGP {
	var raw rawBGPAdvertisement
	if !d.read(o, &raw) {
		return nil
	}
	ad := &decodedBGP{BGPAdvertisement: BGPAdvertisement{
		Scope:               d.scope(raw.rawScope),
		Name:                o.Name,
		Peers:               raw.Peers,
		AggregationLength:   d.aggregation("aggregationLength", "IPv4", raw.AggregationLength, 32),
		AggregationLengthV6: d.aggregation("aggregationLengthV6", "IPv6", raw.AggregationLengthV6, 128),
		LocalPref:           raw.LocalPref,
		MED:                 raw.MED,
		Prepend:             raw.Prepend,
		GracefulShutdown:    raw.GracefulShutdown,
	}, communities: raw.Communities}
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
	ad := &L2Advertisement{Scope: d.scope(raw.rawScope), Name: o.Name, Interfaces: raw.Interfaces}
	for i, p := range raw.PreferredNodes {
		path := index("spec.preferredNodeSelectors", i)
		if p.Weight < 1 || p.Weight > 100 {
			d.fail(path, "invalid preferred node selector: weight %d is out of range, must be 1 to 100", p.Weight)
		}
		if s, ok := d.selector(path+".preference", p.Preference); ok {
			ad.PreferredNodes = append(ad.PreferredNodes, PreferredNode{int(p.Weight), s})
		}
	}
	return ad
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
