// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/status"
)

// FuzzReport reads the page /status of an agent, as heraldctl does: an agent of another
// version, or who has taken it over, may answer anything. What was read is written as
// what reads the same, and makes metrics.
func FuzzReport(f *testing.F) {
	for _, file := range []string{"testdata/agent.json", "testdata/controller.json"} {
		page, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(page)
	}
	f.Add([]byte(`{"node":"n1","pools":[{"totalV4":-1}],"decisions":[{"announce":true,"routes":[""],"addr":""}],"peers":[{"wanted":true}],"layer2":{"addresses":[{}]}}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		var r status.Report
		if json.Unmarshal(page, &r) != nil {
			return
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again status.Report
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("cannot be read: %v: %s", err, written)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(written) {
			t.Fatalf("written, read and written, %v:\n%s\n%s", err, written, twice)
		}
		registry := prometheus.NewRegistry()
		board := status.NewBoard(status.BoardOptions{Registerer: registry, Identity: r.Identity})
		board.Set(r)
		_, _ = registry.Gather() // a Report with something twice has no metrics
		r.Confirm(func(netip.Prefix) []status.PeerID { return []status.PeerID{{Interface: "eth0"}} })
		for _, p := range r.Peers {
			_ = p.ID().String()
		}
	})
}
