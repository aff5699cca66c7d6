// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"
	"strings"
)

// OnDemand are the daemons that a node needs for some configurations only.
var OnDemand = []string{Staticd, BFDD}

// Uses reports whether a configuration text has something for a daemon of OnDemand.
// Words may be shortened, as vtysh takes them.
func Uses(text, daemon string) bool {
	uses := usesBFD
	if daemon == Staticd {
		uses = usesStatic
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "no" {
			words = words[1:]
		}
		if len(words) > 0 && words[0][0] != '!' && words[0][0] != '#' && uses(words) {
			return true
		}
	}
	return false
}

// usesBFD reports whether a line is for bfdd, or has another daemon use BFD:
//
//	bfd
//	debug bfd …
//	neighbor PEER bfd …
//	ip route PREFIX NEXTHOP bfd …
func usesBFD(words []string) bool {
	return shortens(words, "bfd") || shortens(words, "debug", "bfd") || shortens(words, "neighbor", "", "bfd") ||
		usesStatic(words) && slices.Contains(words, "bfd")
}

// usesStatic reports whether a line is for staticd.
func usesStatic(words []string) bool {
	for _, family := range []string{"ip", "ipv6"} {
		if shortens(words, family, "route") || shortens(words, family, "mroute") {
			return true
		}
	}
	return shortens(words, "debug", "static") || words[0] == "static-sids"
}

// shortens reports whether each word is the beginning of the wanted one, and stands for
// it in its place. An empty wanted word is any.
func shortens(words []string, wanted ...string) bool {
	if len(words) < len(wanted) {
		return false
	}
	for i, w := range wanted {
		if w != "" && !strings.HasPrefix(w, words[i]) {
			return false
		}
	}
	return true
}
