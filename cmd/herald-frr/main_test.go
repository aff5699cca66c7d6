// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	none := func(string) string { return "" }
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"version", []string{"--version"}, 0, name + " version "},
		{"no FRR", []string{"--user=", "--daemon-dir=" + t.TempDir()}, 1, "find FRR: "},
		{"a mode that is none", []string{"--stop=later"}, 1, `--stop "later": want `},
		{"an argument", []string{"now"}, 1, "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(t.Context(), tt.args, none, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit status %d and %q, want %d and %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}
