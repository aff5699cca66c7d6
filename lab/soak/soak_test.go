// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/soak"
)

const (
	// soakSeed and soakSteps are what CI runs. HERALD_SOAK_SEED is another seed.
	soakSeed, soakSteps = 1, 60

	// soakWithin bounds the steps, so that the test ends within five minutes.
	soakWithin = 200 * time.Second
)

// Random faults violate no invariant. Other work of the machine is no fault: the limits
// are generous.
func TestSoak(t *testing.T) {
	lab.NotAttached(t)
	lab.Need(t, "zebra", "bgpd", "bfdd", "staticd", "nft", "python3")
	lab.Versions(t)
	seed := uint64(soakSeed)
	if text := os.Getenv("HERALD_SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	report, err := soak.Run(t.Context(), soak.Options{
		Plan: soak.Generate(seed, soakSteps), Limits: soak.Generous, Bin: e2e.Build(t), Within: soakWithin,
		Log: t.Output(), Dump: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteText(t.Output()); err != nil {
		t.Error(err)
	}
	for _, v := range report.Violations {
		t.Errorf("seed %d: %s", seed, v)
	}
	if len(report.Quiets) == 0 {
		t.Error("nothing was checked")
	}
}
