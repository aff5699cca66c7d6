// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

func TestParseReservations(t *testing.T) {
	var pool config.Pool
	for _, s := range []string{"192.0.2.0/24", "2001:db8::/64"} {
		r, err := config.ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		pool.Addresses = append(pool.Addresses, r)
	}
	pool.AvoidBuggyIPs = true
	tests := []struct{ name, text, want string }{
		{"none", " ", "[]"},
		{"one", "192.0.2.5=shop/web", "[192.0.2.5=shop/web]"},
		{"blanks", " 192.0.2.5 = shop/web , 192.0.2.6=lab/0", "[192.0.2.5=shop/web 192.0.2.6=lab/0]"},
		{"both families", "192.0.2.5=shop/web,2001:db8::5=shop/web", "[192.0.2.5=shop/web 2001:db8::5=shop/web]"},
		{"IPv4-mapped", "::ffff:192.0.2.5=shop/web", "[192.0.2.5=shop/web]"},
		{"to be shared", "192.0.2.5=shop/tcp,192.0.2.5=shop/udp", "[192.0.2.5=shop/tcp 192.0.2.5=shop/udp]"},
		{"no Service", "192.0.2.5", `invalid reservation "192.0.2.5": want address=namespace/name`},
		{"no namespace", "192.0.2.5=web", `invalid reservation "192.0.2.5=web": want address=namespace/name`},
		{"two commas", "192.0.2.5=shop/web,", `invalid reservation "": want address=namespace/name`},
		{"no address", "web=shop/web", `invalid reservation "web=shop/web": unable to parse IP`},
		{"prefix", "192.0.2.5/32=shop/web", `invalid reservation "192.0.2.5/32=shop/web": unexpected character (at "/32")`},
		{"zone", "2001:db8::1%eth0=shop/web", `invalid reservation "2001:db8::1%eth0=shop/web": a zone is not allowed`},
		{"bad namespace", "192.0.2.5=Shop/web", `invalid reservation "192.0.2.5=Shop/web": "Shop" cannot be a name`},
		{"bad name", "192.0.2.5=shop/web/tls", `invalid reservation "192.0.2.5=shop/web/tls": "web/tls" cannot be a name`},
		{"not in the pool", "198.51.100.1=shop/web", `invalid reservation "198.51.100.1=shop/web": the pool does not contain the address`},
		{"never assigned", "192.0.2.0=shop/web", `invalid reservation "192.0.2.0=shop/web": the pool never assigns addresses ending in .0 and .255`},
		{"twice", "192.0.2.5=shop/web,192.0.2.5=shop/web", `invalid reservation "192.0.2.5=shop/web": it is there twice`},
		{"two of a family", "192.0.2.5=shop/web,192.0.2.6=shop/web", `invalid reservation "192.0.2.6=shop/web": 192.0.2.5 is reserved for that Service already`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs, err := config.ParseReservations(tt.text, pool)
			got := fmt.Sprint(rs)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseQuota(t *testing.T) {
	tests := []struct{ name, text, a, other, namedDefault string }{
		{"none", "", "no bound", "no bound", "no bound"},
		{"default", "default=10", "10", "10", "10"},
		{"one", "team-a=5", "5", "no bound", "no bound"},
		{"all", " team-a = 0, default=10 ,namespace/default=3", "0", "10", "3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := config.ParseQuota(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			for namespace, want := range map[string]string{"team-a": tt.a, "other": tt.other, "default": tt.namedDefault} {
				got := "no bound"
				if n, bounded := q.Limit(namespace); bounded {
					got = fmt.Sprint(n)
				}
				if got != want {
					t.Errorf("%q: namespace %s has %s, want %s", tt.text, namespace, got, want)
				}
			}
		})
	}
	for text, want := range map[string]string{
		"10":                       `invalid quota "10": want namespace=number or default=number`,
		"default=10,":              `invalid quota "": want namespace=number or default=number`,
		"default=-1":               `invalid quota "default=-1": want a number from 0 to 1000000`,
		"a=1000001":                `invalid quota "a=1000001": want a number from 0 to 1000000`,
		"Team=1":                   `invalid quota "Team=1": "Team" cannot be a namespace`,
		"a=1,a=2":                  `invalid quota "a=2": a is there twice`,
		"default=1,b=2,default=3":  `invalid quota "default=3": default is there twice`,
		"a=1,namespace/a=2":        `invalid quota "namespace/a=2": a is there twice`,
		"namespace/default/x=1,b=": `invalid quota "namespace/default/x=1": "default/x" cannot be a namespace`,
	} {
		if q, err := config.ParseQuota(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v and %v, want %s", text, q, err, want)
		}
	}
}

func FuzzAnnotate(f *testing.F) {
	f.Add("192.0.2.5=shop/web, 2001:db8::5=shop/web", "default=10, team-a=50, namespace/default=0")
	f.Add("::ffff:192.0.2.5=a/b", "a=01")
	f.Fuzz(func(t *testing.T, reservations, quota string) {
		p := config.Pool{AvoidBuggyIPs: true}
		for _, s := range []string{"192.0.2.0/24", "2001:db8::/64"} {
			r, err := config.ParseRange(s)
			if err != nil {
				t.Fatal(err)
			}
			p.Addresses = append(p.Addresses, r)
		}
		if rs, err := config.ParseReservations(reservations, p); err == nil {
			p.Reservations = rs
		}
		if q, err := config.ParseQuota(quota); err == nil {
			p.Quota = q
		}
		var items []string
		for _, r := range p.Reservations {
			items = append(items, r.String())
		}
		again, err := config.ParseReservations(strings.Join(items, ","), p)
		if err != nil || !slices.Equal(again, p.Reservations) {
			t.Fatalf("%q is read as %v, and that as %v and %v", reservations, p.Reservations, again, err)
		}
		for _, r := range p.Reservations {
			if !p.Addresses[0].Contains(r.Addr) && !p.Addresses[1].Contains(r.Addr) {
				t.Fatalf("%q is read as %v, which is not in the pool", reservations, r)
			}
		}
		if p.Quota == nil {
			return
		}
		for n := range p.Quota.Namespaces {
			if limit, bounded := p.Quota.Limit(n); !bounded || limit < 0 {
				t.Fatalf("%q bounds %s to %d, %t", quota, n, limit, bounded)
			}
		}
	})
}

func TestReservationWarnings(t *testing.T) {
	r := config.Reservation{Addr: netip.MustParseAddr("192.0.2.5"), Namespace: "shop", Service: "web"}
	const want = `pool "p": 192.0.2.5 is reserved for shop/web, but the pool is not for namespace shop`
	for _, tt := range []struct {
		name       string
		allocation *config.Allocation
		want       []string
	}{
		{"open", nil, nil},
		{"for every namespace", &config.Allocation{Priority: 1}, nil},
		{"for the namespace", &config.Allocation{Namespaces: []string{"lab", "shop"}}, nil},
		{"for another", &config.Allocation{Namespaces: []string{"lab"}}, []string{want}},
		{"perhaps for the namespace", &config.Allocation{Namespaces: []string{"lab"}, NamespaceSelectors: make([]config.Selector, 1)}, nil},
	} {
		c := config.Config{Pools: []config.Pool{{Name: "p", Allocation: tt.allocation, Reservations: []config.Reservation{r}}}}
		if got := c.Warnings(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A quota with sharing for all protects nothing.
func TestSharingWarning(t *testing.T) {
	for _, tt := range []struct {
		quota    *config.Quota
		separate bool
		want     int
	}{{nil, false, 0}, {nil, true, 0}, {&config.Quota{}, true, 0}, {&config.Quota{}, false, 1}} {
		c := config.Config{Pools: []config.Pool{{Name: "p", Quota: tt.quota, Separate: tt.separate}}}
		if got := c.Warnings(); len(got) != tt.want {
			t.Errorf("quota %v, separate %v: got %q", tt.quota, tt.separate, got)
		}
	}
}
