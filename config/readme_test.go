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
		c, err := config.ParseConfigMap(s[1])
		if err != nil {
			t.Errorf("%v in\n%s", err, s[1])
			continue
		}
		for _, w := range c.Warnings() {
			t.Errorf("warning %q about\n%s", w, s[1])
		}
	}
}
