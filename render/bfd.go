// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
)

// maxProfileName is the greatest length of the name of a BFD profile in FRR:
// BFD_PROFILE_NAME_LEN in lib/bfd.h, without the NUL.
const maxProfileName = 63

// echoless returns the profiles and the neighbors with echo mode for IPv4 only. FRR's
// echo packets over IPv6 are not returned by the forwarding of any router, and FRR
// takes a session down that gets none back. A neighbor without an IPv4 address gets a
// copy of its profile, with another name and without echo mode.
func echoless(profiles []config.BFDProfile, neighbors []Neighbor) ([]config.BFDProfile, []Neighbor) {
	names := map[string]string{} // of the profiles without echo mode, by the name of the original
	for _, p := range profiles {
		if p.EchoMode && slices.ContainsFunc(neighbors, func(n Neighbor) bool { return n.BFDProfile == p.Name && !n.Address.Is4() }) {
			names[p.Name] = withoutEcho(p.Name, profiles)
		}
	}
	if len(names) == 0 {
		return profiles, neighbors
	}
	profiles, neighbors = slices.Clone(profiles), slices.Clone(neighbors)
	for _, p := range profiles {
		if name, ok := names[p.Name]; ok {
			p.Name, p.EchoMode = name, false
			profiles = append(profiles, p)
		}
	}
	slices.SortFunc(profiles, func(a, b config.BFDProfile) int { return strings.Compare(a.Name, b.Name) })
	for i, n := range neighbors {
		if name, ok := names[n.BFDProfile]; ok && !n.Address.Is4() {
			neighbors[i].BFDProfile = name
		}
	}
	return profiles, neighbors
}

// withoutEcho returns the name for the copy of a profile without echo mode. No other
// profile has that name, and it is not too long for FRR.
func withoutEcho(name string, profiles []config.BFDProfile) string {
	free := func(name string) bool {
		return len(name) <= maxProfileName && !slices.ContainsFunc(profiles, func(p config.BFDProfile) bool { return p.Name == name })
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	for candidate := name + ":no-echo"; ; candidate = fmt.Sprintf("%x:no-echo", h.Sum64()) {
		if free(candidate) {
			return candidate
		}
		h.Write([]byte{0})
	}
}

// profileLines returns the lines of a profile. It omits FRR's defaults, as FRR does.
func profileLines(p config.BFDProfile) []string {
	var lines []string
	number := func(key string, value, byDefault uint32) {
		if value != 0 && value != byDefault {
			lines = append(lines, fmt.Sprintf("%s %d", key, value))
		}
	}
	number("detect-multiplier", p.DetectMultiplier, 3)
	number("transmit-interval", p.TransmitInterval, 300)
	number("receive-interval", p.ReceiveInterval, 300)
	if p.PassiveMode {
		lines = append(lines, "passive-mode")
	}
	if p.EchoMode {
		lines = append(lines, "echo-mode")
	}
	number("echo transmit-interval", p.EchoInterval, 50)
	number("echo receive-interval", p.EchoInterval, 50)
	number("minimum-ttl", p.MinimumTTL, 254)
	return lines
}
