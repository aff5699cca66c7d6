// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

func TestParseRelease(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"", "[]", ""},
		{" 192.0.2.7, 192.0.2.0/30 ,2001:db8::1-2001:db8::9,", "[192.0.2.7/32 192.0.2.0/30 2001:db8::1-2001:db8::9]", ""},
		{"::ffff:192.0.2.1", "[192.0.2.1/32]", ""},
		{"true", "", "want addresses, CIDRs or ranges"},
		{"192.0.2.9-192.0.2.1", "", "want addresses, CIDRs or ranges"},
	}
	for _, tt := range tests {
		got, err := config.ParseRelease(tt.text)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: the error is %v, want %q", tt.text, err, tt.err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != tt.want && len(got)+len(tt.want) != 2 {
			t.Errorf("%q: got %v, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

// A pool is a version of an IPAddressPool.
type pool struct {
	name       string
	generation int64
	spec       string // of addresses: [a, b], and what else
	release    string
	deleting   bool
}

func (p pool) object() config.Object {
	o := config.Object{
		ID: config.ID{Kind: config.KindPool, Name: p.name}, UID: p.name, Generation: p.generation,
		Spec: fmt.Appendf(nil, `{"addresses":%s}`, p.spec), Deleting: p.deleting,
	}
	if p.release != "" {
		o.Annotations = map[string]string{config.AnnotationRelease: p.release}
	}
	return o
}

func use(addr, service string) config.Use {
	namespace, _, _ := strings.Cut(service, "/")
	return config.Use{
		Addr: netip.MustParseAddr(addr), Service: service, Namespace: namespace,
		NamespaceLabels: map[string]string{"name": namespace}, Labels: map[string]string{"app": "web"},
	}
}

// verdictOf returns the reason and the message of a verdict, and remembers it in an
// object as the controller's status does.
func verdictOf(r config.Resolved, name string) config.Verdict {
	for _, v := range r.Verdicts {
		if v.Name == name {
			return v
		}
	}
	return config.Verdict{}
}

// inForce lists the pools and their ranges.
func inForce(r config.Resolved) string {
	var out []string
	for _, p := range r.Config.Pools {
		out = append(out, fmt.Sprint(p.Name, p.Addresses))
	}
	return strings.Join(out, " ")
}

// An edit that takes away what is in use is held back, also by a process that starts
// later and by one that does not judge, and is in force once nothing stands in the way.
func TestProtection(t *testing.T) {
	one := []config.Use{use("192.0.2.7", "shop/web")}
	dual := append(one, use("192.0.2.130", "shop/other"))
	var many []config.Use
	for i := range 8 {
		many = append(many, use(fmt.Sprintf("192.0.2.%d", 8-i), fmt.Sprintf("shop/s%d", i)))
	}
	const wide = `["192.0.2.0/24"]`
	tests := []struct {
		name    string
		before  []pool
		now     []pool
		uses    []config.Use
		want    string // in force
		reason  string // of the first; empty: accepted
		message string // contained
		judged  bool   // only by a process that judges
	}{
		{name: "nobody uses it", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["198.51.100.0/24"]`, "", false}},
			want: "a[198.51.100.0/24]"},
		{name: "it keeps what is in use", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["192.0.2.0/28"]`, "", false}}, uses: one,
			want: "a[192.0.2.0/28]"},
		{name: "it takes one", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["192.0.2.8/29"]`, "", false}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse,
			message: "it would take 192.0.2.7 of shop/web; if that is meant, annotate it with heraldlb.io/release-addresses=192.0.2.7; its last valid version stays in force"},
		{name: "it takes many", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["198.51.100.0/24"]`, "", false}}, uses: many,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse,
			message: "it would take 192.0.2.1 of shop/s7, 192.0.2.2 of shop/s6, 192.0.2.3 of shop/s5, 192.0.2.4 of shop/s4, 192.0.2.5 of shop/s3 and 3 more; if that is meant, annotate it with heraldlb.io/release-addresses=192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,…"},
		{name: "it takes one that is released", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["192.0.2.8/29"]`, "192.0.2.0/29", false}}, uses: one,
			want: "a[192.0.2.8/29]"},
		{name: "it takes two, of which one is released", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["192.0.2.8/29"]`, "192.0.2.7", false}}, uses: dual,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "would take 192.0.2.130 of shop/other;"},
		{name: "it leaves .0 and .255 out", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, wide + `,"avoidBuggyIPs":true`, "", false}},
			uses: []config.Use{use("192.0.2.255", "shop/web")}, want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "192.0.2.255 of shop/web"},
		{name: "another pool has it", before: []pool{{"a", 1, wide, "", false}},
			now: []pool{{"a", 2, `["192.0.2.128/25"]`, "", false}, {"b", 1, `["192.0.2.0/25"]`, "", false}}, uses: dual,
			want: "a[192.0.2.128/25] b[192.0.2.0/25]"},
		{name: "another pool has one of two", before: []pool{{"a", 1, wide, "", false}},
			now: []pool{{"a", 2, `["198.51.100.0/24"]`, "", false}, {"b", 1, `["192.0.2.0/25"]`, "", false}}, uses: dual,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "192.0.2.130 of shop/other"},
		{name: "it is for other namespaces now", before: []pool{{"a", 1, wide, "", false}},
			now: []pool{{"a", 2, wide + `,"serviceAllocation":{"namespaceSelectors":[{"matchLabels":{"name":"infra"}}]}`, "", false}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "192.0.2.7 of shop/web", judged: true},
		{name: "it is for this namespace now", before: []pool{{"a", 1, wide, "", false}},
			now: []pool{{"a", 2, wide + `,"serviceAllocation":{"namespaces":["shop"]}`, "", false}}, uses: one, want: "a[192.0.2.0/24]"},
		{name: "it was never for the Service", before: []pool{{"a", 1, wide + `,"serviceAllocation":{"namespaces":["infra"]}`, "", false}},
			now: []pool{{"a", 2, wide + `,"serviceAllocation":{"namespaces":["other"]}`, "", false}}, uses: one, want: "a[192.0.2.0/24]"},
		{name: "it is deleted", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, wide, "", true}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "its deletion would take 192.0.2.7 of shop/web;"},
		{name: "it is deleted, and released", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, wide, "0.0.0.0/0", true}}, uses: one,
			reason: config.VerdictDeleted, message: "no Service has an address of it"},
		{name: "it is deleted, and nobody uses it", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, wide, "", true}},
			reason: config.VerdictDeleted},
		{name: "it is deleted, and another one is in its place", before: []pool{{"a", 1, wide, "", false}},
			now: []pool{{"a", 2, wide, "", true}, {"b", 1, wide, "", false}}, uses: one, want: "b[192.0.2.0/24]", reason: config.VerdictDeleted},
		{name: "it is edited, then deleted", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 3, `["198.51.100.0/24"]`, "", true}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInUse, message: "its deletion would take"},
		{name: "it is edited so that it makes no sense", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["nonsense"]`, "", false}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInvalid},
		{name: "the annotation makes no sense", before: []pool{{"a", 1, wide, "", false}}, now: []pool{{"a", 2, `["192.0.2.8/29"]`, "true", false}}, uses: one,
			want: "a[192.0.2.0/24]", reason: config.VerdictInvalid, message: "metadata.annotations[heraldlb.io/release-addresses]"},
	}
	objects := func(pools []pool) (out []config.Object) {
		for _, p := range pools {
			out = append(out, p.object())
		}
		return out
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			protection := &config.Protection{InUse: tt.uses, Judge: true}
			check := func(who string, r config.Resolved) {
				t.Helper()
				v := verdictOf(r, "a")
				if got := inForce(r); got != tt.want {
					t.Errorf("%s: in force is %q, want %q", who, got, tt.want)
				}
				if want := tt.reason; v.Reason != want && !(want == "" && v.Accepted) || !strings.Contains(v.Message, tt.message) {
					t.Errorf("%s: the verdict is %s %q, want %s %q", who, v.Reason, v.Message, want, tt.message)
				}
			}
			before := config.Resolved{}.Next(config.Resources{Objects: objects(tt.before), Protection: protection})
			now := config.Resources{Objects: objects(tt.now), Protection: protection}
			check("who saw the edit", before.Next(now))

			// The statuses are those of before the edit: nobody has looked at it.
			for i, o := range now.Objects {
				now.Objects[i].InForce = verdictOf(before, o.Name).InForce
			}
			started := config.Resolved{}.Next(now)
			check("who starts after it", started)

			now.Protection = &config.Protection{InUse: tt.uses}
			if !tt.judged {
				check("an agent", before.Next(now))
				check("an agent that starts", config.Resolved{}.Next(now))
			}
			// Now the controller has said what it makes of it.
			for i, o := range now.Objects {
				v := verdictOf(started, o.Name)
				now.Objects[i].InForce, now.Objects[i].Withheld = v.InForce, v.Reason == config.VerdictInUse
			}
			following := func(who string, r config.Resolved) {
				t.Helper()
				if got := inForce(r); got != tt.want {
					t.Errorf("%s: in force is %q, want %q", who, got, tt.want)
				}
			}
			following("an agent that follows", before.Next(now))
			following("an agent that follows from its start", config.Resolved{}.Next(now))
			// It has not seen the Services yet, and believed the edit.
			now.Protection = &config.Protection{}
			if tt.reason == config.VerdictInUse && !tt.now[0].deleting {
				unprotected := now
				unprotected.Protection = nil
				following("an agent that believed the edit", before.Next(unprotected).Next(now))
			}

			// Once nobody uses anything, all is in force; without the flag, at once.
			if tt.reason != config.VerdictInvalid {
				want := inForce(config.Resolved{}.Next(config.Resources{Objects: objects(tt.now), Protection: &config.Protection{Judge: true}}))
				now.Protection = &config.Protection{Judge: true}
				if got := inForce(started.Next(now)); got != want {
					t.Errorf("when nobody uses it: in force is %q, want %q", got, want)
				}
			}
		})
	}
}

// The pools of a document can be put into another one, whatever YAML they are in.
func TestWithPools(t *testing.T) {
	const before = `
bgp-communities: {blackhole: 65535:666, mine: 64512:1}
x: &list
- 192.0.2.0/24
`
	_ = before
	text := `
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1, password: "on"}]
bgp-communities: {mine: 64512:1}
address-pools:
- &base {name: one, protocol: layer2, addresses: [192.0.2.0/28]}
- {<<: *base, name: two, addresses: [192.0.2.16/28]}
- {name: "007", protocol: bgp, addresses: [192.0.2.32/28], avoid-buggy-ips: yes, bgp-advertisements: [{communities: [mine]}]}
`
	pools, err := config.PoolsOf([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	was, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	only, err := config.Parse(pools)
	if err != nil || fmt.Sprint(only.Pools) != fmt.Sprint(was.Pools) || len(only.Peers) > 0 {
		t.Fatalf("the pools are %v, %v; want %v", only, err, was.Pools)
	}
	next := `
peers: [{my-asn: 64512, peer-asn: 64514, peer-address: 10.0.0.2}]
bgp-communities: {other: 64512:2}
address-pools:
- {name: "two", protocol: layer2, addresses: [198.51.100.0/28]}
- {name: three, protocol: layer2, addresses: [198.51.100.16/28]}
`
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"two"}, "two[192.0.2.16/28] three[198.51.100.16/28]"},
		{[]string{"007", "one"}, "two[198.51.100.0/28] three[198.51.100.16/28] one[192.0.2.0/28] 007[192.0.2.32/28]"},
		{nil, "one[192.0.2.0/28] two[192.0.2.16/28] 007[192.0.2.32/28]"},
	} {
		merged, err := config.WithPools([]byte(next), pools, tt.names)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse(merged)
		if err != nil {
			t.Fatalf("%v: %v\n%s", tt.names, err, merged)
		}
		if got := inForce(config.Resolved{Config: cfg}); got != tt.want {
			t.Errorf("with %v of before: %s, want %s", tt.names, got, tt.want)
		}
		if len(cfg.Peers) != 1 || cfg.Peers[0].PeerASN != 64514 {
			t.Errorf("the peers are %v", cfg.Peers)
		}
	}
}
