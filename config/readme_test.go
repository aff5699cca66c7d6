// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/heraldlb/herald/config"
)

// Every sample configuration of the README is accepted, without a warning.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(samples) == 0 {
		t.Fatal("the README has no sample")
	}
	for _, s := range samples {
		r, found, err := config.ReadResources(s[1])
		if err != nil || !found {
			t.Errorf("resources: %v, %v in\n%s", found, err, s[1])
			continue
		}
		now := config.Resolved{}.Next(r)
		for _, v := range now.Verdicts {
			if !v.Accepted || len(v.Notes) > 0 {
				t.Errorf("%s: %s, %v in\n%s", v.ID, v.Message, v.Notes, s[1])
			}
		}
		for _, w := range now.Config.Warnings() {
			t.Errorf("warning %q about\n%s", w, s[1])
		}
	}
}
