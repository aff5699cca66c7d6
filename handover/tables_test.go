// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

// A TableMemory does as a Memory does, whatever happened before, when all that is decided
// is remembered.
func TestTableMemory(t *testing.T) {
	over, givenUp, quiet, standby, parted := 0, 0, 0, 0, 0
	for seed := range uint64(50) {
		h := announcetest.NewHistory(t, seed, seed%4 == 0)
		var flat handover.Memory
		var memory handover.TableMemory
		var routes announce.BGPMemory
		var answers announce.Layer2Memory
		now, gaps := time.Unix(1_700_000_000, 0), 0
		silent := map[netip.Prefix]bool{}
		sent := func(all []netip.Prefix) bool {
			return !slices.ContainsFunc(all, func(p netip.Prefix) bool { return silent[p] })
		}
		for step := range 80 {
			h.Step()
			switch h.IntN(10) {
			case 0:
				gaps++
			case 1:
				clear(silent)
			case 2:
				now = now.Add(time.Minute)
			default:
				now = now.Add(time.Duration(h.IntN(4000)) * time.Millisecond)
			}
			s, opts := h.Snapshot(), h.Options
			opts.Members, opts.Layer2 = h.Members, true
			opts.Announces, opts.Sends, opts.Resumes = flat.Announces, flat.Sends(), nil
			bgp, layer2 := announce.BGP(s, "n2", opts), announce.Layer2(s, "n2", h.Members, opts)
			for _, d := range bgp.Decisions {
				for _, r := range d.Routes {
					if h.IntN(20) == 0 {
						silent[r] = true
					}
				}
			}
			opts.Announces, opts.Sends = memory.Announces, memory.Sends()
			tables := cluster.TablesOf(s)
			got := memory.Next(routes.Next(tables, "n2", opts), answers.Next(tables, "n2", h.Members, opts), gaps, sent, now).List()
			want := flat.Next(bgp, layer2, gaps, sent, now)
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty(), cmp.AllowUnexported(config.Secret{})); diff != "" {
				t.Fatalf("seed %d, step %d (-Memory +TableMemory):\n%s", seed, step, diff)
			}
			for _, d := range got.Decisions {
				if d.Reason == status.Switching || d.Reason == status.HandingOver {
					over++
				}
				if strings.Contains(d.Detail, "gets the route until") {
					parted++
				}
			}
			givenUp += len(got.GivenUp)
			for _, a := range got.Answers {
				if a.Quiet {
					quiet++
				}
				if a.Standby {
					standby++
				}
			}
		}
	}
	if over < 100 || givenUp < 5 || quiet < 30 || standby == 0 || parted < 10 {
		t.Errorf("%d in overtime, %d given up, %d quiet, %d standby, %d to some peers: the histories are too simple", over, givenUp, quiet, standby, parted)
	}
}
