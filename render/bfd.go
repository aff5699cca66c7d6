// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
)

// maxProfileName is the length of the longest name of a BFD profile that FRR takes:
// BFD_PROFILE_NAME_LEN in lib/bfd.h, less the NUL.
const maxProfileName = 63

// echoless returns the profiles and the neighbors with echo mode for IPv4 alone. FRR
// sends echo packets over IPv6 that no router's forwarding returns, and takes a
// session down that gets none back. A neighbor with another address than one of
// IPv4, or with none, has the same profile without echo mode, of another name.
func echoless(profiles []config.BFDProfile, neighbors []Neighbor) ([]config.BFDProfile, []Neighbor) {
	names := map[string]string{} // of the profile without, by that of the one with
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

// withoutEcho returns the name of the profile that is like another but for echo mode;
// a name that no profile has and that FRR takes.
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

// profileLines leaves out what is FRR's default, as FRR does.
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
