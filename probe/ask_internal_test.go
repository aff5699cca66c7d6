// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
)

// to returns a target at an address and port.
func to(at netip.AddrPort, p config.Probe) announce.Target {
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	return announce.Target{Port: at.Port(), Share: 1, ProbeID: announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: at.Addr()}, Probe: p}}
}

func TestAsk(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-hang
		case "/moved":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		case "/host":
			if r.Host != "web.example" || r.URL.RawQuery != "x=1" {
				http.Error(w, r.Host, http.StatusTeapot)
			}
		case "/large":
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	defer close(hang)
	here := netip.MustParseAddrPort(s.Listener.Addr().String())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(free.Addr().String())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	get := func(path string) config.Probe { return config.Probe{Protocol: config.ProbeHTTP, Path: path} }
	tests := []struct {
		name  string
		at    netip.AddrPort
		probe config.Probe
		why   string // the end of it; empty: it answers
	}{
		{"a connection", here, config.Probe{Protocol: config.ProbeTCP}, ""},
		{"refused", closed, config.Probe{Protocol: config.ProbeTCP}, closed.String() + " refuses connections"},
		{"not found", here, get("/"), "http://" + here.String() + "/ answers 404"},
		{"a redirect is not followed", here, get("/moved"), ""},
		{"a host and a query", here, config.Probe{Protocol: config.ProbeHTTP, Path: "/host?x=1", Host: "web.example"}, ""},
		{"no answer", here, config.Probe{Protocol: config.ProbeHTTP, Path: "/hang", Timeout: 2 * time.Second}, "does not answer within 2s"},
		{"an endless header", here, get("/large"), "unexpected EOF"},
	}
	for _, tt := range tests {
		for _, local := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, local %t", tt.name, local), func(t *testing.T) {
				target := to(tt.at, tt.probe)
				if target.Local = local; local {
					target.Share = 0.5
				}
				r := ask(t.Context(), target)
				if r.ok != (tt.why == "") || !strings.HasSuffix(r.why, tt.why) || r.tries != 0 {
					t.Errorf("got %+v, want %q", r, tt.why)
				}
			})
		}
	}
}
