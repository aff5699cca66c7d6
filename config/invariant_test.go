// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/config"
)

// checkInvariants fails the test unless cfg is what Config's comments promise.
func checkInvariants(t *testing.T, cfg *config.Config) {
	t.Helper()
	var pools, ads, peers, profiles []string
	var ranges []config.Range
	for _, p := range cfg.Pools {
		pools = append(pools, p.Name)
		if len(p.Addresses) == 0 && len(p.Remarks) == 0 {
			t.Errorf("pool %q has no addresses", p.Name)
		}
		ranges = append(ranges, p.Addresses...)
	}
	for i, r := range ranges {
		if r.First.BitLen() != r.Last.BitLen() || r.First.Compare(r.Last) > 0 || r.First.Is4In6() || r.First.Zone() != "" {
			t.Errorf("range %v is none", r)
		}
		for _, o := range ranges[:i] {
			if r.Overlaps(o) {
				t.Errorf("ranges %v and %v overlap", r, o)
			}
		}
	}
	for _, b := range cfg.BFDProfiles {
		profiles = append(profiles, b.Name)
	}
	for _, p := range cfg.Peers {
		peers = append(peers, p.Name)
		if p.MyASN == 0 || p.PeerASN == 0 || !p.Address.IsValid() {
			t.Errorf("peer %s lacks what it needs: %+v", p.Name, p)
		}
		if p.BFDProfile != "" && !slices.Contains(profiles, p.BFDProfile) {
			t.Errorf("peer %s has a profile %q that does not exist", p.Name, p.BFDProfile)
		}
		if p.RouterID.IsValid() && !p.RouterID.Is4() {
			t.Errorf("peer %s has the router ID %v", p.Name, p.RouterID)
		}
		for _, d := range []*time.Duration{p.HoldTime, p.KeepaliveTime} {
			if d != nil && (*d%time.Second != 0 || *d < 0) {
				t.Errorf("peer %s has a timer of %v", p.Name, d)
			}
		}
	}
	announced := map[string]bool{}
	for _, a := range cfg.BGPAdvertisements {
		ads = append(ads, "bgp/"+a.Name)
		announced[a.Pools[0]] = true
		if a.AggregationLength < 1 || a.AggregationLength > 32 || a.AggregationLengthV6 < 1 || a.AggregationLengthV6 > 128 {
			t.Errorf("advertisement %s aggregates to %d and %d", a.Name, a.AggregationLength, a.AggregationLengthV6)
		}
	}
	for _, a := range cfg.L2Advertisements {
		ads = append(ads, "l2/"+a.Name)
		announced[a.Pools[0]] = true
	}
	for _, p := range pools {
		if !announced[p] {
			t.Errorf("pool %q has no advertisement", p)
		}
	}
	for kind, names := range map[string][]string{"pools": pools, "peers": peers, "advertisements": ads, "profiles": profiles} {
		seen := map[string]bool{}
		for _, n := range names {
			if n == "" || seen[n] {
				t.Errorf("%s: name %q is empty or not unique", kind, n)
			}
			seen[n] = true
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases (%v)", err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func([]byte) (*config.Config, error){config.Parse, config.ParseConfigMap} {
			cfg, err := parse(text)
			if (cfg == nil) == (err == nil) {
				t.Fatalf("got config %v and error %v", cfg, err)
			}
			if err == nil {
				checkInvariants(t, cfg)
				cfg.Warnings()
			}
		}
	})
}
