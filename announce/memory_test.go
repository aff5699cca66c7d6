// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A BGPMemory decides as BGP does, whatever happened before.
func TestBGPMemory(t *testing.T) {
	announced, shared, conflicts, failed, kept, parted, resumed := 0, 0, 0, 0, 0, 0, 0
	for seed := range uint64(60) {
		h := announcetest.NewHistory(t, seed, seed%2 == 0)
		var m announce.BGPMemory
		for step := range 60 {
			h.Step()
			s := h.Snapshot()
			h.Options.Members = h.Members
			h.Options.Layer2 = seed%3 == 0
			if step%3 == 0 { // as if all advertisements had applied before
				before, c := s, *s.Config
				c.BGPAdvertisements = slices.Clone(c.BGPAdvertisements)
				for i := range c.BGPAdvertisements {
					c.BGPAdvertisements[i].Probe, c.BGPAdvertisements[i].NodeSelectors = config.Probe{}, nil
				}
				before.Config = &c
				h.Options.Sends = networksOf(announce.BGP(before, "n2", announce.Options{}).BGP)
			}
			want := announce.BGP(s, "n2", h.Options)
			got := m.Next(cluster.TablesOf(s), "n2", h.Options).List()
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty(), cmp.AllowUnexported(config.Secret{})); diff != "" {
				t.Fatalf("seed %d, step %d (-BGP +BGPMemory):\n%s", seed, step, diff)
			}
			parted += len(got.Parted)
			by := map[netip.Prefix]int{}
			for _, d := range got.Decisions {
				if d.Announce {
					announced++
				}
				if d.Reason == status.ProbeFailed {
					failed++
				}
				if strings.HasSuffix(d.Detail, "the agent before this one announced it") {
					resumed++
				}
				if d.Announce && strings.HasPrefix(d.Detail, "the probe") {
					kept++
				} else if d.Announce && d.Detail != "" {
					conflicts++
				}
				for _, r := range d.Routes {
					if by[r]++; by[r] == 2 {
						shared++
					}
				}
			}
		}
	}
	if announced < 500 || shared < 50 || conflicts < 5 || failed < 10 || kept < 10 || parted < 10 || resumed < 5 {
		t.Errorf("%d announcements, %d shared routes, %d conflicts, %d probes failed, %d on all nodes, %d parted, %d resumed: the histories are too simple",
			announced, shared, conflicts, failed, kept, parted, resumed)
	}
}

// A Layer2Memory decides as Layer2 does, whatever happened before.
func TestLayer2Memory(t *testing.T) {
	owned, lost, claimed, failed := 0, 0, 0, 0
	for seed := range uint64(30) {
		h := announcetest.NewHistory(t, seed, seed%2 == 0)
		var m announce.Layer2Memory
		for step := range 60 {
			h.Step()
			s := h.Snapshot()
			want := announce.Layer2(s, "n2", h.Members, h.Options)
			got := m.Next(cluster.TablesOf(s), "n2", h.Members, h.Options).List()
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-Layer2 +Layer2Memory):\n%s", seed, step, diff)
			}
			owned += len(got.Announce)
			lost += len(got.NoInterface) + len(got.NoOther)
			claimed += len(got.Claimed)
			for _, d := range got.Decisions {
				if d.Reason == status.ProbeFailed {
					failed++
				}
			}
		}
	}
	if owned < 200 || lost < 50 || claimed < 100 || failed < 20 {
		t.Errorf("%d owned, %d that no other or no interface is for, %d claimed, %d probes failed: the histories are too simple", owned, lost, claimed, failed)
	}
}

// A QuestionMemory asks what Questions does, whatever happened before.
func TestQuestionMemory(t *testing.T) {
	asked, gone := 0, 0
	for seed := range uint64(30) {
		h := announcetest.NewHistory(t, seed, seed%2 == 0)
		var m announce.QuestionMemory
		var before announce.QuestionTable
		for step := range 60 {
			h.Step()
			s := h.Snapshot()
			h.Options.AskAll = seed%3 == 0 && step%20 < 10
			table := m.Next(cluster.TablesOf(s), "n2", h.Options)
			var got []announce.Question
			for _, of := range table.All() {
				got = append(got, of...)
			}
			want := announce.Questions(s, "n2", h.Options)
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-Questions +QuestionMemory):\n%s", seed, step, diff)
			}
			asked += len(got)
			gone += max(0, before.Len()-table.Len())
			before = table
		}
	}
	if asked < 500 || gone < 50 {
		t.Errorf("%d questions, %d gone: the histories are too simple", asked, gone)
	}
}

// The same while agents stop, die and come back: few addresses are elected for again.
func TestLayer2MemoryTurnover(t *testing.T) {
	owned, moved := 0, 0
	for seed := range uint64(100) {
		h := announcetest.NewHistory(t, seed, true)
		var m announce.Layer2Memory
		var before map[netip.Addr]string
		for step := range 60 {
			if h.Turnover(); step < 20 || seed%2 == 0 {
				h.Step()
			}
			s := h.Snapshot()
			want := announce.Layer2(s, "n2", h.Members, h.Options)
			got := m.Next(cluster.TablesOf(s), "n2", h.Members, h.Options).List()
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-Layer2 +Layer2Memory):\n%s", seed, step, diff)
			}
			owned += len(got.Owners)
			for addr, owner := range got.Owners {
				if was := before[addr]; was != "" && was != owner {
					moved++
				}
			}
			before = got.Owners
		}
	}
	if owned < 2000 || moved < 300 {
		t.Errorf("%d owned, %d moved: the histories are too simple", owned, moved)
	}
}
