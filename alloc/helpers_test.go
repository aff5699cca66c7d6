// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
)

// pool returns a pool of ranges that assigns automatically.
func pool(t testing.TB, name string, ranges ...string) config.Pool {
	t.Helper()
	p := config.Pool{Name: name, AutoAssign: true}
	for _, s := range ranges {
		r, err := config.ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		p.Addresses = append(p.Addresses, r)
	}
	return p
}

func selector(t testing.TB, key, value string) config.Selector {
	t.Helper()
	s, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request returns the request of Service "namespace/name" for any IPv4
// address.
func request(service string) alloc.Request {
	return alloc.Request{Service: key(service), Families: alloc.IPv4}
}

func key(service string) alloc.Key {
	namespace, name, _ := strings.Cut(service, "/")
	return alloc.Key{Namespace: namespace, Name: name}
}

// addrs reads addresses separated by blanks.
func addrs(s string) []netip.Addr {
	var out []netip.Addr
	for f := range strings.FieldsSeq(s) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

func ports(numbers ...uint16) port.Set {
	var out []port.Port
	for _, n := range numbers {
		out = append(out, port.Port{Protocol: "TCP", Number: n})
	}
	return port.NewSet(out...)
}
