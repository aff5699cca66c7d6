// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
)

// BenchmarkAllocate measures that many allocations from an empty /12: one op
// is the whole run.
func BenchmarkAllocate(b *testing.B) {
	for _, n := range []int{1000, 16000, 100000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			pools := []config.Pool{pool(b, "big", "10.0.0.0/12")}
			reqs := make([]alloc.Request, n)
			for i := range reqs {
				reqs[i] = request(fmt.Sprintf("shop/web-%d", i))
			}
			b.ReportAllocs()
			for b.Loop() {
				a := alloc.New(pools)
				for _, req := range reqs {
					if _, err := a.Allocate(req); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkReplace measures releasing an address and allocating one, in a /12
// of which 100,000 addresses are in use.
func BenchmarkReplace(b *testing.B) {
	const n = 100000
	a := alloc.New([]config.Pool{pool(b, "big", "10.0.0.0/12")})
	reqs := make([]alloc.Request, n)
	for i := range reqs {
		reqs[i] = request(fmt.Sprintf("shop/web-%d", i))
		if _, err := a.Allocate(reqs[i]); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; b.Loop(); i++ {
		req := reqs[i*7919%n]
		a.Release(req.Service)
		if _, err := a.Allocate(req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShare measures Services with one sharing key and one port, which
// can share no address: one op is 10,000 of them.
func BenchmarkShare(b *testing.B) {
	pools := []config.Pool{pool(b, "big", "10.0.0.0/12")}
	reqs := make([]alloc.Request, 10000)
	for i := range reqs {
		reqs[i] = request(fmt.Sprintf("shop/web-%d", i))
		reqs[i].SharingKey = "everyone"
		reqs[i].Ports = port.NewSet(port.Port{Protocol: "TCP", Number: 443})
	}
	for b.Loop() {
		a := alloc.New(pools)
		for _, req := range reqs {
			if _, err := a.Allocate(req); err != nil {
				b.Fatal(err)
			}
		}
	}
}
