// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net"
	"testing"
)

// A fake connection is from an address.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return a
}

func (c *fakeConn) Close() error {
	c.closed = true
	return nil
}

// A fake listener has connections to accept.
type fakeListener struct {
	net.Listener
	next *fakeConn
}

func (l *fakeListener) Accept() (net.Conn, error) { return l.next, nil }

// The connection that makes room is the oldest of the busiest address.
func TestLimiter(t *testing.T) {
	tests := []struct {
		name   string
		from   []string
		closed []int
	}{
		{"few", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, nil},
		{"one client closes its own", []string{"192.0.2.9:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, []int{1, 2}},
		{"each has one: the oldest", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"}, []int{0}},
		{"a network of IPv6 is one client", []string{"[2001:db8::9:0:0:0:1]:1", "[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"}, []int{1}},
		{"a new client is served", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"}, []int{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := &fakeListener{}
			l := &limiter{Listener: from, most: 3}
			var all []*fakeConn
			for _, a := range tt.from {
				from.next = &fakeConn{from: a}
				all = append(all, from.next)
				if _, err := l.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			var closed []int
			for i, c := range all {
				if c.closed {
					closed = append(closed, i)
				}
			}
			if len(closed) != len(tt.closed) {
				t.Fatalf("closed %v, want %v", closed, tt.closed)
			}
			for i := range closed {
				if closed[i] != tt.closed[i] {
					t.Fatalf("closed %v, want %v", closed, tt.closed)
				}
			}
			if len(l.open) > 3 {
				t.Errorf("%d are open", len(l.open))
			}
		})
	}
}
