// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/status"
)

// maxHostname bounds the name that a router gives itself, in bytes. The capability has room
// for 255 of any kind.
const maxHostname = 64

// A rawDetails has the fields of a neighbor in bgpd's JSON that are for people.
type rawDetails struct {
	LocalRouterID  string `json:"localRouterId"`
	RemoteRouterID string `json:"remoteRouterId"` // 0.0.0.0: not known
	Hostname       string `json:"hostname"`       // or "Unknown"
	HoldMsec       int64  `json:"bgpTimerHoldTimeMsecs"`
	KeepaliveMsec  int64  `json:"bgpTimerKeepAliveIntervalMsecs"`
	ResetMsec      *int64 `json:"lastResetTimerMsecs"` // missing: it was never reset

	MD5          json.RawMessage `json:"authenticationEnabled"` // 1, or missing
	Capabilities json.RawMessage `json:"neighborCapabilities"`  // by name: a text, or of multiprotocolExtensions an object by family
	Restart      rawRestart      `json:"gracefulRestartInfo"`
}

// A rawRestart has the modes of both ends: "Restart", "Helper" or "Disable", with an asterisk
// if it is not configured.
type rawRestart struct {
	Local  string `json:"localGrMode"`
	Remote string `json:"remoteGrMode"`
}

// kept reports whether the peer keeps our routes while we restart. RFC 4724, Section 3.
func (r rawRestart) kept() bool {
	return strings.HasPrefix(r.Local, "Restart") && (strings.HasPrefix(r.Remote, "Restart") || strings.HasPrefix(r.Remote, "Helper"))
}

// A rawFamily has the counters of an address family.
type rawFamily struct {
	Sent     int `json:"sentPrefixCounter"`
	Accepted int `json:"acceptedPrefixCounter"`
}

// A Reset is when a session went down last, or the last attempt failed, and why.
type Reset struct {
	Age   time.Duration // since then
	Error string        // in FRR's words
}

// details returns what the neighbor says of both ends.
func (n rawNeighbor) details() *status.SessionDetails {
	d := &status.SessionDetails{
		LocalASN: n.LocalAS, RemoteASN: n.RemoteAS,
		LocalRouterID: idOf(n.LocalRouterID), RemoteRouterID: idOf(n.RemoteRouterID),
		MD5: len(n.MD5) > 0 && string(n.MD5) != "0" && string(n.MD5) != "false",
	}
	d.LocalAddress, _ = netip.ParseAddr(n.HostLocal)
	if n.State != established {
		return d
	}
	if n.Hostname != "Unknown" {
		d.RemoteHost = cutName(n.Hostname)
	}
	d.HoldTime, d.Keepalive = int(n.HoldMsec/1000), int(n.KeepaliveMsec/1000)
	d.GracefulRestart = n.Restart.kept()
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(n.Capabilities, &raw) // of what cannot be read there is none
	d.Capabilities = capabilitiesOf(raw)
	agreed := agreedFamilies(raw)
	for _, name := range slices.Sorted(maps.Keys(n.Families)) {
		f := n.Families[name]
		d.Families = append(d.Families, status.SessionFamily{Name: name, Agreed: agreed[name], Sent: f.Sent, Received: f.Accepted})
	}
	return d
}

// capabilitiesOf returns which end has which capability. Those that have more than a text, such
// as which families, are left out.
func capabilitiesOf(raw map[string]json.RawMessage) map[string]status.Capability {
	out := map[string]status.Capability{}
	for name, value := range raw {
		var text string
		if json.Unmarshal(value, &text) != nil {
			continue
		}
		switch {
		case strings.HasPrefix(text, "advertisedAndReceived"):
			out[name] = status.CapabilityAgreed
		case strings.HasPrefix(text, "advertised"):
			out[name] = status.CapabilitySent
		case strings.HasPrefix(text, "received"):
			out[name] = status.CapabilityReceived
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// agreedFamilies returns the address families that both ends have.
func agreedFamilies(raw map[string]json.RawMessage) map[string]bool {
	var all map[string]struct {
		Agreed bool `json:"advertisedAndReceived"`
	}
	_ = json.Unmarshal(raw["multiprotocolExtensions"], &all) // likewise
	out := map[string]bool{}
	for name, f := range all {
		out[name] = f.Agreed
	}
	return out
}

// reset returns when and why the session went down last; nil: it never has.
func (n rawNeighbor) reset() *Reset {
	why := cmp.Or(n.Notified, n.DueTo)
	if n.ResetMsec == nil || why == "" {
		return nil
	}
	return &Reset{time.Duration(*n.ResetMsec) * time.Millisecond, why}
}

// idOf returns a router ID; zero: there is none.
func idOf(text string) netip.Addr {
	id, err := netip.ParseAddr(text)
	if err != nil || id.IsUnspecified() {
		return netip.Addr{}
	}
	return id
}

// cutName returns the name that a router gives itself, of characters that a host name may have.
func cutName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '?'
	}, s)
	return s[:min(len(s), maxHostname)]
}
