// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

// What an object refers to and does not exist is told, whether that keeps it from
// being in force or not.
func TestReferences(t *testing.T) {
	object := func(kind, name, spec string) config.Object {
		return config.Object{ID: config.ID{Kind: kind, Name: name}, Spec: []byte(spec)}
	}
	there := []config.Object{
		object(config.KindPool, "web", `{"addresses":["192.0.2.0/28"]}`),
		object(config.KindPool, "bad", `{"addresses":["192.0.2.0/33"]}`),
		object(config.KindPeer, "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`),
		object(config.KindBFDProfile, "fast", `{}`),
		object(config.KindCommunity, "named", `{"communities":[{"name":"blue","value":"64512:1"}]}`),
	}
	secrets := []config.PasswordSecret{
		{Name: "good", Type: config.PasswordSecretType, HasKey: true, Password: config.NewSecret("x")},
		{Name: "opaque", Type: "Opaque", HasKey: true},
	}
	peer := func(more string) string {
		return `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.9",` + more + `}`
	}
	for _, test := range []struct {
		name, kind, spec string
		missing, empty   string // joined with "; "
	}{
		{name: "all pools and peers", kind: config.KindBGPAdvertisement, spec: `{}`},
		{name: "all that is named is there", kind: config.KindBGPAdvertisement,
			spec: `{"ipAddressPools":["web"],"peers":["tor"],"communities":["blue","no-export","64512:2"]}`},
		{name: "unknown names", kind: config.KindBGPAdvertisement, spec: `{"ipAddressPools":["web","wbe"],"peers":["tro","x"],"communities":["green"]}`,
			missing: `there is no pool "wbe", did you mean "web"?; there is no peer "tro", did you mean "tor"?; there is no peer "x"; invalid community format: green: no Community defines it; want ASN:VALUE, large:A:B:C, or such a name`},
		{name: "nearly a name", kind: config.KindBGPAdvertisement, spec: `{"peers":["tors"]}`, missing: `there is no peer "tors", did you mean "tor"?`},
		{name: "a refused pool", kind: config.KindL2Advertisement, spec: `{"ipAddressPools":["bad"]}`,
			missing: `pool "bad" is refused, and no version of it is in force`},
		{name: "selectors", kind: config.KindL2Advertisement, spec: `{"ipAddressPoolSelectors":[{"matchLabels":{"tier":"x"}}]}`,
			empty: "ipAddressPoolSelectors match 0 of 1 pools"},
		{name: "BFD profile and Secret", kind: config.KindPeer, spec: peer(`"bfdProfile":"fast","passwordSecret":{"name":"good"}`)},
		{name: "neither", kind: config.KindPeer, spec: peer(`"bfdProfile":"slow","passwordSecret":{"name":"lost"}`),
			missing: `there is no BFD profile "slow"; there is no Secret "lost"`},
		{name: "a Secret of another type", kind: config.KindPeer, spec: peer(`"passwordSecret":{"name":"opaque"}`),
			missing: "secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := config.Resolved{}.Next(config.Resources{Objects: append(slices.Clone(there), object(test.kind, "x", test.spec)), Secrets: secrets})
			i := slices.IndexFunc(r.Verdicts, func(v config.Verdict) bool { return v.ID == config.ID{Kind: test.kind, Name: "x"} })
			v := r.Verdicts[i]
			missing := strings.Join(v.Missing, "; ")
			if test.missing == "secret" && strings.Contains(missing, "basic-auth") {
				missing = test.missing
			}
			if !v.Refers || missing != test.missing || strings.Join(v.Empty, "; ") != test.empty {
				t.Errorf("it refers to something: %t, missing %q, empty %q; want %q and %q", v.Refers, v.Missing, v.Empty, test.missing, test.empty)
			}
		})
	}
	r := config.Resolved{}.Next(config.Resources{Objects: append(slices.Clone(there), object(config.KindPeer, "x", `{"nonsense":1}`))})
	for _, v := range r.Verdicts {
		if v.Refers != (v.ID == config.ID{Kind: config.KindPeer, Name: "tor"}) {
			t.Errorf("%s refers to something: %t", v.ID, v.Refers)
		}
	}
}

// A profile that is gone, and goes on for the peer that has it, is missing.
func TestReferencesKept(t *testing.T) {
	profile := config.Object{ID: config.ID{Kind: config.KindBFDProfile, Name: "fast"}, Spec: []byte(`{}`)}
	peer := config.Object{ID: config.ID{Kind: config.KindPeer, Name: "tor"},
		Spec: []byte(`{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1","bfdProfile":"fast"}`)}
	first := config.Resolved{}.Next(config.Resources{Objects: []config.Object{profile, peer}})
	if missing := first.Verdicts[1].Missing; len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
	then := first.Next(config.Resources{Objects: []config.Object{peer}})
	if len(then.Config.BFDProfiles) != 1 || !slices.Equal(then.Verdicts[0].Missing, []string{`there is no BFD profile "fast"`}) {
		t.Errorf("profiles %v, missing %q", then.Config.BFDProfiles, then.Verdicts[0].Missing)
	}
}
