// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// canonical returns one text for a setting that can be written in several ways. It
// returns the empty text for a default that the daemons do not print, and any other
// line unchanged.
func canonical(in scope, line string) string {
	if strings.Contains(line, "  ") || strings.IndexByte(line, '\t') >= 0 {
		line = strings.Join(strings.FieldsFunc(line, isBlank), " ")
	}
	switch in {
	case inRouter:
		return canonicalRouter(line)
	case inRouteMap:
		if list, ok := strings.CutPrefix(line, "set community "); ok {
			return "set community " + canonicalCommunities(list)
		}
	case inProfile:
		if profileDefaults[keyOf(in, line)] == line {
			return ""
		}
	}
	return line
}

// isBlank reports whether a character separates words. The parser takes no other for
// the indentation of a line.
func isBlank(r rune) bool { return r == ' ' || r == '\t' }

// canonicalRouter handles the lines that bgpd prints differently, or does not print
// because they are the default.
func canonicalRouter(line string) string {
	if times, ok := strings.CutPrefix(line, "timers bgp "); ok {
		if line = "timers bgp " + canonicalTimers(times); line == "timers bgp 60 180" {
			return ""
		}
		return line
	}
	_, attr, ok := cutNeighbor(line)
	if !ok || strings.HasPrefix(line, "no ") {
		return line
	}
	if times, ok := strings.CutPrefix(attr, "timers "); ok {
		return strings.TrimSuffix(line, times) + canonicalTimers(times)
	}
	switch attr {
	case "ebgp-multihop":
		return line + " 255"
	case "ebgp-multihop 1", "port 179":
		return ""
	}
	return line
}

// canonicalTimers returns "KEEPALIVE HOLD" as bgpd changes it: the keepalive is at most
// a third of the hold time.
func canonicalTimers(times string) string {
	keepalive, hold, ok := strings.Cut(times, " ")
	k, errK := strconv.ParseUint(keepalive, 10, 16)
	h, errH := strconv.ParseUint(hold, 10, 16)
	if !ok || cmp.Or(errK, errH) != nil || k <= h/3 {
		return times
	}
	return fmt.Sprintf("%d %s", h/3, hold)
}

// profileDefaults are the default settings of a BFD profile by key. bfdd does not
// know the "no" of most of them: they are unset by setting the default.
var profileDefaults = map[string]string{
	"detect-multiplier":      "detect-multiplier 3",
	"receive-interval":       "receive-interval 300",
	"transmit-interval":      "transmit-interval 300",
	"echo transmit-interval": "echo transmit-interval 50",
	"echo receive-interval":  "echo receive-interval 50",
	"echo-interval":          "echo-interval 50",
	"minimum-ttl":            "minimum-ttl 254",
}

// expand returns the two settings that s stands for if it is an "echo-interval",
// which bfdd does not print.
func expand(in scope, s Section) (both [2]Section, ok bool) {
	value, ok := strings.CutPrefix(s.Text, "echo-interval ")
	if in != inProfile || !ok || value == "50" {
		return both, false
	}
	for i, way := range [2]string{"transmit", "receive"} {
		both[i].Line = Line{"echo " + way + "-interval " + value, s.No}
	}
	return both, true
}

// wellKnown are the communities that bgpd prints by name. RFC 1997, RFC 7611,
// RFC 7999, RFC 8326, and the IANA registry of well-known communities.
var wellKnown = map[string]uint32{
	"internet":                   0,
	"graceful-shutdown":          0xffff0000,
	"accept-own":                 0xffff0001,
	"route-filter-translated-v4": 0xffff0002,
	"route-filter-v4":            0xffff0003,
	"route-filter-translated-v6": 0xffff0004,
	"route-filter-v6":            0xffff0005,
	"llgr-stale":                 0xffff0006,
	"no-llgr":                    0xffff0007,
	"accept-own-nexthop":         0xffff0008,
	"blackhole":                  0xffff029a,
	"no-export":                  0xffffff01,
	"no-advertise":               0xffffff02,
	"local-AS":                   0xffffff03,
	"no-peer":                    0xffffff04,
}

// canonicalCommunities sorts the communities of a "set community" by value, as bgpd
// does, and writes each as two numbers. A list with a word that is no community stays
// as it is.
func canonicalCommunities(list string) string {
	words := strings.Fields(list)
	additive := len(words) > 1 && words[len(words)-1] == "additive"
	if additive {
		words = words[:len(words)-1]
	}
	values := make([]uint32, 0, len(words))
	for _, w := range words {
		v, ok := parseCommunity(w)
		if !ok {
			return list
		}
		values = append(values, v)
	}
	slices.Sort(values)
	var b strings.Builder
	for _, v := range slices.Compact(values) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(int(v >> 16)))
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(int(v & 0xffff)))
	}
	if additive {
		b.WriteString(" additive")
	}
	return b.String()
}

func parseCommunity(word string) (uint32, bool) {
	if v, ok := wellKnown[word]; ok {
		return v, true
	}
	high, low, ok := strings.Cut(word, ":")
	if !ok {
		return 0, false
	}
	h, errHigh := strconv.ParseUint(high, 10, 16)
	l, errLow := strconv.ParseUint(low, 10, 16)
	return uint32(h)<<16 | uint32(l), cmp.Or(errHigh, errLow) == nil
}

// cutNeighbor splits "neighbor PEER ATTRIBUTE…", with or without "no" in front.
func cutNeighbor(line string) (peer, attr string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "no "), "neighbor ")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, " ")
}

// neighborValues are the attributes of a neighbor that have one value: to set one
// again replaces its value.
var neighborValues = []string{
	"timers connect", "timers", "bfd profile", "port", "password", "remote-as",
	"update-source", "ebgp-multihop", "local-as", "description", "ttl-security",
	"maximum-prefix", "advertisement-interval", "weight", "peer-group",
	"graceful-restart", "interface",
}

// routerValues are the settings of a router with one value.
var routerValues = []string{
	"bgp router-id", "timers bgp", "bgp cluster-id", "coalesce-time",
	"bgp graceful-restart restart-time", "bgp graceful-restart stalepath-time",
	"bgp default local-preference", "update-delay", "maximum-paths ibgp", "maximum-paths",
}

// keyOf returns the name of the setting in a line, without its value. Of two lines
// with the same key in one context, the later replaces the earlier without a "no". A
// setting without a value is its own key, with and without "no".
func keyOf(in scope, line string) string {
	if key, ok := networkKey(line); ok {
		return key
	}
	line = strings.TrimPrefix(line, "no ")
	switch in {
	case inRouter, inFamily:
		if peer, attr, ok := cutNeighbor(line); ok {
			return "neighbor " + peer + " " + neighborKey(attr)
		}
		return firstPrefix(routerValues, line)
	case inRouteMap:
		// "set KIND VALUE…" and "match KIND VALUE…": one of a kind.
		kind, value, _ := strings.Cut(line, " ")
		what, _, _ := strings.Cut(value, " ")
		if what == "ip" || what == "ipv6" || what == "extcommunity" {
			what = value[:len(value)-len(lastField(value))]
		}
		return kind + " " + what
	case inProfile:
		if strings.HasPrefix(line, "echo ") {
			line = strings.TrimSuffix(line, " "+lastField(line))
			return line
		}
		key, _, _ := strings.Cut(line, " ")
		return key
	case inTop:
		return firstPrefix([]string{"hostname", "frr defaults", "frr version", policyDelay}, line)
	case inBFD, inOther:
	}
	return line
}

// networkKey is keyOf for the lines of which there are thousands.
func networkKey(line string) (string, bool) {
	const word = "network "
	if !strings.HasPrefix(line, word) {
		return "", false
	}
	if i := strings.IndexByte(line[len(word):], ' '); i >= 0 {
		return line[:len(word)+i], true
	}
	return line, true
}

// neighborKey returns the key of a neighbor's attribute.
func neighborKey(attr string) string {
	for _, kind := range []string{"route-map ", "prefix-list ", "filter-list ", "distribute-list "} {
		if strings.HasPrefix(attr, kind) {
			return kind + lastField(attr) // in or out
		}
	}
	return firstPrefix(neighborValues, attr)
}

// firstPrefix returns the first of prefixes with whose words line begins, or line if
// there is none.
func firstPrefix(prefixes []string, line string) string {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(line, p); ok && (rest == "" || rest[0] == ' ') {
			return p
		}
	}
	return line
}

func lastField(s string) string {
	return s[strings.LastIndexByte(s, ' ')+1:]
}

// unset returns the command that removes a line.
func unset(in scope, line string) string {
	if positive, ok := strings.CutPrefix(line, "no "); ok {
		return positive
	}
	if in == inProfile {
		if def, ok := profileDefaults[keyOf(in, line)]; ok {
			return def
		}
	}
	if _, attr, ok := cutNeighbor(line); ok && neighborKey(attr) == "password" {
		return "no " + keyOf(in, line) // the secret is not needed to remove it
	}
	return "no " + line
}
